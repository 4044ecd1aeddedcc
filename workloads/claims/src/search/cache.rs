//! Evidence that is kept, a file a search: by the core's hash, the model's, and what was searched.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::evidence::Evidence;
use crate::sources::{self, short};

/// The form of the files. Another one is another cache.
const SCHEMA: u32 = 1;

/// A folder of evidence: `CORE/MODEL/HASH.json`, with the first twelve digits of either.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What was found in a cache.
#[derive(Debug)]
pub enum Kept {
    /// Of this core.
    Fresh(Box<Evidence>),
    /// Of another core, or of another model.
    Stale(Box<Evidence>),
    /// Nothing.
    Nothing,
    /// A file that cannot be trusted; why.
    Torn(String),
}

/// A file: the evidence as text, so that what its checksum is of is what is read.
#[derive(Serialize, Deserialize)]
struct Sealed {
    schema: u32,
    sha256: String,
    evidence: String,
}

impl Cache {
    /// Evidence in `folder`, which is made when something is kept.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The user's own cache: `$XDG_CACHE_HOME/dyno/claims`, or `~/.cache/dyno/claims`; none if there is no
    /// home.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|path| Path::new(path).is_absolute());
        let base = set("XDG_CACHE_HOME").map(PathBuf::from);
        let base = base.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
        Some(Self::new(base.join("dyno").join("claims")))
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is kept of a search with these bounds: that of this core, or else any other.
    #[must_use]
    pub fn find(&self, bounds: &str) -> Kept {
        let name = name(bounds);
        let own = self.of_this_core().join(&name);
        match read(&own, bounds) {
            Ok(Some(evidence)) if evidence.is_of_this_core() => {
                return Kept::Fresh(Box::new(evidence));
            }
            Ok(Some(_)) => return Kept::Torn(format!("{}: of another core", own.display())),
            Ok(None) => {}
            Err(why) => return Kept::Torn(format!("{}: {why}", own.display())),
        }
        let mut others: Vec<_> =
            folders(&self.folder).iter().flat_map(|core| folders(core)).collect();
        others.sort();
        let mut others =
            others.iter().filter_map(|folder| read(&folder.join(&name), bounds).ok()?);
        match others.next() {
            Some(evidence) => Kept::Stale(Box::new(evidence)),
            None => Kept::Nothing,
        }
    }

    /// All that is kept of this core and this model; files that cannot be trusted are passed over.
    #[must_use]
    pub fn all(&self) -> Vec<Evidence> {
        let entries = fs::read_dir(self.of_this_core()).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let kept = files.iter().filter_map(|path| unsealed(path).ok()?);
        kept.filter(Evidence::is_of_this_core).collect()
    }

    /// Keeps `evidence`: the file is whole or is not there.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn keep(&self, evidence: &Evidence) -> io::Result<()> {
        let folder = self.of_this_core();
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_string(evidence)?;
        let sealed = Sealed { schema: SCHEMA, sha256: hash(&text), evidence: text };
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(serde_json::to_string(&sealed)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(folder.join(name(&evidence.bounds)))?;
        Ok(())
    }

    fn of_this_core(&self) -> PathBuf {
        let (core, model) = (sources::core(), sources::model());
        let bug = core.split_once('+').map(|(_, bug)| format!("+{bug}")).unwrap_or_default();
        self.folder.join(format!("{}{bug}", short(&core))).join(short(model))
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Nothing if there is no file; an error if it cannot be trusted.
fn read(path: &Path, bounds: &str) -> Result<Option<Evidence>, String> {
    match unsealed(path)? {
        Some(evidence) if evidence.bounds != bounds => {
            Err(format!("of another search: {}", evidence.bounds))
        }
        found => Ok(found),
    }
}

fn unsealed(path: &Path) -> Result<Option<Evidence>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let sealed: Sealed = serde_json::from_str(&text).map_err(|_| "no whole file of evidence")?;
    if sealed.schema != SCHEMA {
        return Err(format!("schema {}, this build reads {SCHEMA}", sealed.schema));
    }
    if sealed.sha256 != hash(&sealed.evidence) {
        return Err("its checksum does not fit".to_owned());
    }
    let evidence =
        serde_json::from_str(&sealed.evidence).map_err(|_| "no evidence of this form")?;
    Ok(Some(evidence))
}

fn name(bounds: &str) -> String {
    format!("{}.json", short(&hash(bounds)))
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
