//! Damage to the data directory of a node that is down: the same on this machine and on other hosts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::image::Image;

/// What is read at a time; as much of nothing but zeros is left as a hole.
const PIECE: usize = 1 << 16;
/// A journal with less than this is hardly begun: what a cut takes need not have been acknowledged.
const LEAST: u64 = 4 << 10;

/// What is done to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Damage {
    /// None: a copy of it is kept beside it.
    Keep,
    /// It is what it was when the copy was kept, as after a restore from a backup.
    PutBack,
    /// The newest journal is shorter by so many hundredths of what was written to it.
    Cut(u8),
    /// The hints are gone, and nothing else: a directory that does not miss them.
    LoseHints,
    /// One file, drawn by a seed among all by what was written to them, is shorter by so many hundredths of
    /// that.
    Truncate {
        /// How many.
        hundredths: u8,
        /// Which file.
        seed: u64,
    },
    /// So many bits are others, drawn by a seed.
    Flip {
        /// How many.
        bits: u8,
        /// Which.
        seed: u64,
    },
    /// What was not synced is gone, of a disk of the node's own: see [`super::image`].
    LosePower,
}

/// Does `damage` to the directory `data`; what was done, human-readable.
///
/// # Errors
/// If it cannot be done, or would change nothing.
pub fn damage(data: &Path, damage: Damage) -> Result<String, String> {
    let done = match damage {
        Damage::Keep => keep(data),
        Damage::PutBack => put_back(data),
        Damage::LoseHints => lose_hints(data),
        Damage::Cut(hundredths) => cut(data, hundredths),
        Damage::Truncate { hundredths, seed } => truncate(data, hundredths, seed),
        Damage::Flip { bits, seed } => flip(data, bits, seed),
        Damage::LosePower => Image::under(data).and_then(|image| image.cut_power()),
    };
    done.map_err(|error| format!("{}: {error}", data.display()))
}

fn kept(data: &Path) -> PathBuf {
    data.with_extension("kept")
}

fn keep(data: &Path) -> io::Result<String> {
    copy_folder(data, &kept(data))?;
    Ok("a copy of its directory is kept".to_owned())
}

/// In the place of what is at `to`.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    remove(to)?;
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from).map_err(io::Error::other)?);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        copy(&file, &target)?;
    }
    Ok(())
}

fn put_back(data: &Path) -> io::Result<String> {
    let kept = kept(data);
    // The mark grows with everything that is made durable.
    if fs::read(kept.join("mark"))? == fs::read(data.join("mark"))? {
        return Err(io::Error::other(
            "nothing was written since the copy: it would change nothing",
        ));
    }
    remove(data)?;
    fs::rename(&kept, data)?;
    Ok("its directory is what it was".to_owned())
}

fn lose_hints(data: &Path) -> io::Result<String> {
    match dynamo_node::storage::lose_hints(data).map_err(io::Error::other)? {
        0 => Err(io::Error::other("it holds no hint: it would change nothing")),
        lost => Ok(format!("{lost} hints are removed")),
    }
}

fn cut(data: &Path, hundredths: u8) -> io::Result<String> {
    let number = |path: &Path| path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
    let journals = files(data)?.into_iter();
    let journals = journals.filter(|path| path.extension().is_some_and(|kind| kind == "jnl"));
    let newest = journals.max_by_key(|path| number(path));
    let newest = newest.ok_or_else(|| io::Error::other("there is no journal to cut"))?;
    let written = written(&newest)?;
    if written < LEAST {
        return Err(io::Error::other(format!("its journal has {written} bytes: too few to cut")));
    }
    shorten(data, &newest, written, hundredths)
}

/// Takes the end off a file, of which so much was written.
fn shorten(data: &Path, file: &Path, written: u64, hundredths: u8) -> io::Result<String> {
    let gone = (written * u64::from(hundredths) / 100).clamp(1, written);
    OpenOptions::new().write(true).open(file)?.set_len(written - gone)?;
    Ok(format!("{}: the last {gone} of {written} bytes are gone", name(data, file)))
}

fn truncate(data: &Path, hundredths: u8, seed: u64) -> io::Result<String> {
    let files = files_written(data)?;
    let total = files.iter().map(|(written, _)| written).sum::<u64>();
    let mut at = ChaCha8Rng::seed_from_u64(seed).random_range(0..total);
    for (written, file) in files {
        if at < written {
            return shorten(data, &file, written, hundredths);
        }
        at -= written;
    }
    Err(io::Error::other("there is nothing to damage"))
}

/// The files that something was written to, and how much; one at least.
fn files_written(data: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let all = files(data)?.into_iter().map(|path| Ok((written(&path)?, path)));
    let all: Vec<_> = all
        .filter(|file: &io::Result<_>| file.as_ref().map_or(true, |(written, _)| *written > 0))
        .collect::<io::Result<_>>()?;
    if all.is_empty() {
        return Err(io::Error::other("there is nothing to damage"));
    }
    Ok(all)
}

/// Draws among what was written, not among what a journal has reserved.
fn flip(data: &Path, bits: u8, seed: u64) -> io::Result<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let files = files_written(data)?;
    let total = files.iter().map(|(written, _)| written).sum::<u64>();
    let mut flipped = Vec::new();
    for _ in 0..bits {
        let mut at = rng.random_range(0..total);
        let found = files.iter().find(|(written, _)| {
            let here = at < *written;
            at -= if here { 0 } else { *written };
            here
        });
        let Some((_, path)) = found else { continue };
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        let bit = rng.random_range(0..8);
        byte[0] ^= 1 << bit;
        file.write_all_at(&byte, at)?;
        flipped.push(format!("bit {bit} of byte {at} of {}", name(data, path)));
    }
    Ok(format!("flipped {}", flipped.join(", ")))
}

fn name(data: &Path, path: &Path) -> String {
    path.strip_prefix(data).unwrap_or(path).display().to_string()
}

/// All files under `folder`, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// How many bytes of a file come before the zeros at its end.
fn written(path: &Path) -> io::Result<u64> {
    let mut end = 0;
    pieces(path, |at, piece| {
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        Ok(())
    })?;
    Ok(end)
}

/// With holes where there are nothing but zeros: a journal is mostly that.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let file = File::create(to)?;
    file.set_len(from.metadata()?.len())?;
    pieces(from, |at, piece| {
        if piece.iter().all(|byte| *byte == 0) { Ok(()) } else { file.write_all_at(piece, at) }
    })
}

fn pieces(path: &Path, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                take(at, &piece[..read])?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn directory() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("n1");
        fs::create_dir_all(data.join("engine")).unwrap();
        fs::write(data.join("mark"), [1; 40]).unwrap();
        for (journal, length) in [("9.jnl", 1_000), ("10.jnl", 50_000)] {
            let path = data.join("engine").join(journal);
            fs::write(&path, vec![7; length]).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        }
        (folder, data)
    }

    fn all(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        files(data).unwrap().into_iter().map(read).collect()
    }

    #[test]
    fn a_directory_that_is_put_back_is_what_it_was() {
        let (_folder, data) = directory();
        let before = all(&data);
        damage(&data, Damage::Keep).unwrap();
        let error = damage(&data, Damage::PutBack).unwrap_err();
        assert!(error.contains("nothing was written since"), "{error}");
        fs::write(data.join("mark"), [2; 40]).unwrap();
        fs::write(data.join("engine/11.jnl"), [7; 40]).unwrap();
        damage(&data, Damage::PutBack).unwrap();
        assert!(all(&data) == before);
        assert!(damage(&data, Damage::PutBack).is_err(), "there is no copy any more");
    }

    #[test]
    fn the_newest_journal_is_cut_within_what_was_written() {
        let (_folder, data) = directory();
        let said = damage(&data, Damage::Cut(40)).unwrap();
        assert_eq!(said, "engine/10.jnl: the last 20000 of 50000 bytes are gone");
        assert_eq!(data.join("engine/10.jnl").metadata().unwrap().len(), 30_000);
        assert_eq!(data.join("engine/9.jnl").metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn one_file_is_shortened_within_what_was_written() {
        let mut shortened = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let (_folder, data) = directory();
            let said = damage(&data, Damage::Truncate { hundredths: 100, seed }).unwrap();
            let left = files_written(&data).unwrap().len();
            assert_eq!(left, 2, "{said}");
            shortened.insert(said);
        }
        let all = shortened.iter().map(String::as_str).collect::<Vec<_>>();
        assert!(all.contains(&"engine/9.jnl: the last 1000 of 1000 bytes are gone"), "{all:?}");
        assert!(all.contains(&"engine/10.jnl: the last 50000 of 50000 bytes are gone"), "{all:?}");
    }

    #[test]
    fn bits_are_flipped_by_the_seed_in_what_was_written() {
        let (_one, first) = directory();
        let (_two, second) = directory();
        for seed in 0..20 {
            let flip = Damage::Flip { bits: 3, seed };
            assert_eq!(damage(&first, flip), damage(&second, flip));
        }
        let relative =
            |(path, bytes): &(PathBuf, Vec<u8>)| (path.file_name().map(Into::into), bytes.clone());
        let one: Vec<(Option<std::ffi::OsString>, _)> = all(&first).iter().map(relative).collect();
        assert!(one == all(&second).iter().map(relative).collect::<Vec<_>>());
        let (_three, third) = directory();
        let differ = |a: &[u8], b: &[u8]| -> u32 {
            a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        let flipped: u32 =
            all(&first).iter().zip(&all(&third)).map(|(a, b)| differ(&a.1, &b.1)).sum();
        assert!((50..=60).contains(&flipped), "{flipped} bits");
    }
}
