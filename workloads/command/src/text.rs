//! Files of text that a command line names.

use std::fs;
use std::path::Path;

/// What gzip's files begin with.
const GZIP: &[u8] = b"\x1f\x8b";

/// The text of the file at `path`; `what` says in a clause what should stand there and how to come by it.
///
/// # Errors
/// One line: the file, why it cannot be read or where it is no text, and the mend.
pub fn read_text(path: &Path, what: &str) -> Result<String, String> {
    let in_file = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let bytes = fs::read(path).map_err(|error| in_file(&error))?;
    if bytes.starts_with(GZIP) {
        return Err(in_file(&format_args!("it is compressed: unpack it with gunzip; {what}")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        in_file(&format_args!("no text: from byte {at} on it is not UTF-8; {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_place_and_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_text(&path, "a plan is a TOML file")
        };
        assert_eq!(read(b"name = \"t\"").as_deref(), Ok("name = \"t\""));
        let told = read(b"name = \xff").unwrap_err();
        let name = path.display();
        let no_text = "no text: from byte 7 on it is not UTF-8; a plan is a TOML file";
        assert_eq!(told, format!("{name}: {no_text}"));
        assert!(read(b"\x1f\x8b\x08\x00").unwrap_err().contains("gunzip"));
        assert!(read_text(folder.path(), "").unwrap_err().contains("irectory"));
    }
}
