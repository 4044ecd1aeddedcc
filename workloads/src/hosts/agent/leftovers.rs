//! What an agent that died badly has left on its host.

use std::path::Path;

use super::{netem, nft};

/// Removes whatever a crashed agent left, and says what that was. Its node has died with it: the
/// kernel saw to that.
pub(super) async fn clear(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    // A host without nft has no tables of ours.
    for table in nft::ours().await.unwrap_or_default() {
        found.push(match nft::run(&nft::replace(table)).await {
            Ok(()) => format!("table {table}: removed"),
            Err(error) => format!("table {table}: not removed: {error}"),
        });
    }
    found.extend(netem::clear_all().await);
    let sockets = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    for socket in sockets.filter(|path| path.extension().is_some_and(|end| end == "sock")) {
        // If it stays, the next bind to it says so.
        let _ = std::fs::remove_file(&socket);
        found.push("socket of an agent: removed".to_owned());
    }
    found
}
