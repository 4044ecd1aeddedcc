//! The flags that name hosts, for every command that goes to some.

use clap::Args;

/// Which hosts, and whether to believe them.
#[derive(Debug, Default, Args)]
pub struct HostArgs {
    /// The hosts of --cluster ssh: an inventory file, or hosts separated by commas.
    #[arg(long, value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Accept hosts that known_hosts says nothing of, and remember their keys.
    #[arg(long)]
    pub accept_new: bool,
}
