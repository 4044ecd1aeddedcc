//! Going into the namespaces of a lab. The kernel moves a thread, so there must be only one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::thread::{
    CapabilitySets, capabilities, configure_capability_in_ambient_set, move_into_link_name_space,
    set_capabilities,
};

use super::LabError;

/// Enters namespaces of a process, by their names in /proc.
pub(super) fn all(process: u32, names: &[&str]) -> Result<(), LabError> {
    // All are opened first: another mount namespace has another /proc.
    let open = |name: &&str| {
        let path = PathBuf::from(format!("/proc/{process}/ns/{name}"));
        let file = File::open(&path).map_err(|error| LabError::file(&path, error))?;
        Ok((path, file))
    };
    let opened: Result<Vec<_>, LabError> = names.iter().map(open).collect();
    for (path, file) in opened? {
        move_into_link_name_space(file.as_fd(), None)
            .map_err(|error| LabError::file(&path, error))?;
    }
    Ok(())
}

/// Has the capabilities that came with a user namespace outlive an exec by one who is not root there.
pub(super) fn keep_capabilities() -> Result<(), LabError> {
    let failed = |error| LabError(format!("capabilities: {error}"));
    let own = capabilities(None).map_err(failed)?;
    let inherited = CapabilitySets { inheritable: own.permitted, ..own };
    set_capabilities(None, inherited).map_err(failed)?;
    for capability in own.permitted.iter() {
        configure_capability_in_ambient_set(capability, true).map_err(failed)?;
    }
    Ok(())
}
