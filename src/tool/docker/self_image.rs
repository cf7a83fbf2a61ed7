//! An image made from this very program, for engines that can reach no registry.
//!
//! It holds the running executable, the shared libraries it has mapped and the dynamic loader it
//! names, and nothing else: no shell, no package. So it can only be run on the processor it was
//! made on, which is where its engine is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::docker::{Engine, EngineError, ImageFacts};

/// Where the program is in the image.
pub const PROGRAM: &str = "/charon-dkg";

/// The repository of images that nobody gave another name.
pub const REPOSITORY: &str = "charon-dkg-self";

/// The label that tells from which content an image was made, in hexadecimal.
pub const CONTENT_LABEL: &str = "charon-dkg.self-image";

/// Where the image keeps shared libraries. `LD_LIBRARY_PATH` leads there, since every distribution
/// looks in other directories by default.
const LIBRARIES: &str = "lib/charon-dkg";

/// Without this file older C libraries ask the network for names that `/etc/hosts` has.
const NSSWITCH: &[u8] = b"hosts: files dns\n";

/// Libraries that glibc before 2.34 opens only when a name is first resolved.
const RESOLVER_LIBRARIES: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// An executable or a library larger than this is not ours.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What went wrong while an image was made from this program.
#[derive(Debug, thiserror::Error)]
pub enum SelfImageError {
    /// A file of the running program cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A library was replaced while the program runs, as a system update does.
    #[error("{path} was replaced since this program was started")]
    Replaced {
        /// The library.
        path: PathBuf,
    },
    /// The executable is no 64-bit ELF file with the lower byte first.
    #[error("{path} is not an executable of a known form")]
    UnknownForm {
        /// The executable.
        path: PathBuf,
    },
    /// The engine runs another operating system or processor.
    #[error("the engine runs {engine}, and this program is made for {program}")]
    OtherPlatform {
        /// Of the engine, such as `linux/arm64`.
        engine: String,
        /// Of this program.
        program: String,
    },
    /// The engine took the image and does not have it.
    #[error("the engine loaded {reference} and does not have it")]
    NotLoaded {
        /// The image's name.
        reference: String,
    },
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What the image is called and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfImageSpec {
    /// Another program of ours to be in the image, built for this machine as this one is; `None` for this one.
    pub program: Option<PathBuf>,
    /// `name:tag`; `None` for [`REPOSITORY`] with a tag that follows from the content.
    pub reference: Option<String>,
    /// What runs, before the arguments of a container.
    pub entrypoint: Vec<String>,
    /// The arguments where a container gives none.
    pub cmd: Vec<String>,
    /// Labels, beside [`CONTENT_LABEL`].
    pub labels: BTreeMap<String, String>,
}

impl Default for SelfImageSpec {
    fn default() -> Self {
        Self {
            program: None,
            reference: None,
            entrypoint: vec![PROGRAM.to_owned()],
            cmd: Vec::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// An image made from this program, present on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfImage {
    /// Its name and tag.
    pub reference: String,
    /// What the engine knows of it.
    pub facts: ImageFacts,
    /// Whether it was there already.
    pub reused: bool,
}

/// Makes an image from the running program and loads it, unless the engine has it already.
///
/// # Errors
/// When files of the program cannot be read, the engine runs on another platform, or refuses.
pub async fn load_self_image(
    engine: &Engine,
    spec: &SelfImageSpec,
) -> Result<SelfImage, SelfImageError> {
    let platform = format!("{}/{}", std::env::consts::OS, go_architecture());
    if engine.os_arch() != platform {
        return Err(SelfImageError::OtherPlatform {
            engine: engine.os_arch(),
            program: platform,
        });
    }
    let program = program_of(spec)?;
    let alias = program.alias(spec);
    if let Some(alias) = &alias
        && let Some(facts) = engine.inspect_image(alias).await?
        && let Some(content) = facts.labels.get(CONTENT_LABEL)
    {
        return Ok(SelfImage {
            reference: reference_of(content),
            facts,
            reused: true,
        });
    }
    // Reading and hashing some tens of megabytes must not hold up a signal handler.
    let packed = tokio::task::spawn_blocking({
        let spec = spec.clone();
        let alias = alias.clone();
        move || Packed::of(&program, &spec, alias)
    });
    let packed = match packed.await {
        Ok(packed) => packed?,
        Err(error) => {
            return Err(SelfImageError::Unreadable {
                path: PathBuf::from(EXECUTABLE),
                error: std::io::Error::other(error),
            });
        }
    };
    let known = find(engine, &packed).await?;
    if let (Some(facts), None) = (&known, &alias) {
        return Ok(SelfImage {
            reference: packed.reference,
            facts: facts.clone(),
            reused: true,
        });
    }
    // An image that is there already gets the alias by this.
    engine.load_image(packed.archive).await?;
    let packed = Packed {
        archive: Vec::new(),
        ..packed
    };
    match find(engine, &packed).await? {
        Some(facts) => Ok(SelfImage {
            reference: packed.reference,
            facts,
            reused: known.is_some(),
        }),
        None => Err(SelfImageError::NotLoaded {
            reference: packed.reference,
        }),
    }
}

/// The name of an image that nobody gave another name.
fn reference_of(content: &str) -> String {
    let tag: String = content.chars().take(16).collect();
    format!("{REPOSITORY}:{tag}")
}

/// The image of this name, if it was made from the same content and with the same settings.
async fn find(engine: &Engine, packed: &Packed) -> Result<Option<ImageFacts>, EngineError> {
    let found = engine.inspect_image(&packed.reference).await?;
    Ok(found.filter(|facts| facts.labels.get(CONTENT_LABEL) == Some(&packed.content)))
}

const EXECUTABLE: &str = "/proc/self/exe";

/// The files that a program needs to run.
struct Program {
    executable: PathBuf,
    libraries: BTreeSet<PathBuf>,
}

impl Program {
    /// A name for the image of exactly these files, as they lie on this machine's disk now: who
    /// has it need not read them. `None` where the caller names the image.
    ///
    /// The kernel sets a file's change time whenever its content changes, and nobody can set it.
    fn alias(&self, spec: &SelfImageSpec) -> Option<String> {
        if spec.reference.is_some() {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(format!("{spec:?}"));
        for path in std::iter::once(&self.executable).chain(&self.libraries) {
            let meta = std::fs::metadata(path).ok()?;
            hash.update(format!(
                "{}:{}:{}:{}.{}:{};",
                meta.dev(),
                meta.ino(),
                meta.len(),
                meta.ctime(),
                meta.ctime_nsec(),
                path.display()
            ));
        }
        let tag: String = hex::encode(hash.finalize()).chars().take(16).collect();
        Some(format!("{REPOSITORY}:files-{tag}"))
    }
}

/// The executable and the libraries it needs, which are those that this process has mapped: another program of ours
/// needs no others.
fn program_of(spec: &SelfImageSpec) -> Result<Program, SelfImageError> {
    let path = Path::new("/proc/self/maps");
    let maps = std::fs::read(path).map_err(|error| SelfImageError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let executable =
        std::fs::read_link(EXECUTABLE).map_err(|error| SelfImageError::Unreadable {
            path: PathBuf::from(EXECUTABLE),
            error,
        })?;
    Ok(Program {
        libraries: mapped_libraries(&maps, &executable)?,
        executable: spec
            .program
            .clone()
            .unwrap_or_else(|| PathBuf::from(EXECUTABLE)),
    })
}

/// The files mapped to be executed, besides the executable itself
/// (`address perms offset device inode path`, proc_pid_maps(5)).
fn mapped_libraries(maps: &[u8], executable: &Path) -> Result<BTreeSet<PathBuf>, SelfImageError> {
    const DELETED: &[u8] = b" (deleted)";
    let mut libraries = BTreeSet::new();
    for line in maps.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(2, |byte| *byte == b'/');
        let (Some(head), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_code = head
            .split(|byte| *byte == b' ')
            .nth(1)
            .is_some_and(|permissions| permissions.get(2) == Some(&b'x'));
        let path = [b"/", path].concat();
        if !is_code || path == executable.as_os_str().as_bytes() {
            continue;
        }
        if let Some(path) = path.strip_suffix(DELETED) {
            return Err(SelfImageError::Replaced {
                path: PathBuf::from(OsStr::from_bytes(path)),
            });
        }
        libraries.insert(PathBuf::from(OsStr::from_bytes(&path)));
    }
    Ok(libraries)
}

/// An image archive in the form of `docker save`, and what it is known by.
struct Packed {
    reference: String,
    content: String,
    archive: Vec<u8>,
}

impl Packed {
    fn of(
        program: &Program,
        spec: &SelfImageSpec,
        alias: Option<String>,
    ) -> Result<Self, SelfImageError> {
        let layer = pack_layer(program)?;
        let layer_digest = hex::encode(Sha256::digest(&layer));
        let config = |content: &str| {
            let mut labels = spec.labels.clone();
            labels.insert(CONTENT_LABEL.to_owned(), content.to_owned());
            // Fields of the OCI image configuration (image-spec `config.md`).
            let config = serde_json::json!({
                "os": std::env::consts::OS,
                "architecture": go_architecture(),
                "config": {
                    "Entrypoint": spec.entrypoint,
                    "Cmd": spec.cmd,
                    "Env": ["PATH=/", format!("LD_LIBRARY_PATH=/{LIBRARIES}")],
                    "WorkingDir": "/",
                    "Labels": labels,
                },
                "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            });
            config.to_string().into_bytes()
        };
        // The label stands for the content and all settings; it cannot stand for itself.
        let content = hex::encode(Sha256::digest(config("")));
        let config = config(&content);
        let reference = spec
            .reference
            .clone()
            .unwrap_or_else(|| reference_of(&content));
        let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
        let layer_name = format!("{layer_digest}/layer.tar");
        let names: Vec<&str> = std::iter::once(reference.as_str())
            .chain(alias.as_deref())
            .collect();
        let manifest = serde_json::json!([{
            "Config": config_name,
            "RepoTags": names,
            "Layers": [layer_name],
        }]);
        let mut archive = Archive::default();
        archive.add_file(&config_name, &config, 0o644)?;
        archive.add_file(&layer_name, &layer, 0o644)?;
        archive.add_file("manifest.json", manifest.to_string().as_bytes(), 0o644)?;
        Ok(Self {
            reference,
            content,
            archive: archive.finish()?,
        })
    }
}

/// The names that Go, and so docker, gives to processors.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The file system of the image. The same files give the same bytes.
fn pack_layer(program: &Program) -> Result<Vec<u8>, SelfImageError> {
    let executable = read_file(&program.executable)?;
    let form = || SelfImageError::UnknownForm {
        path: program.executable.clone(),
    };
    let loader = elf::interpreter(&executable).ok_or_else(form)?;
    let mut layer = Archive::default();
    layer.add_file(PROGRAM.trim_start_matches('/'), &executable, 0o755)?;
    layer.add_file("etc/nsswitch.conf", NSSWITCH, 0o644)?;
    // A static executable names no loader, and what is mapped beside it is not its own.
    let Some(loader) = loader else {
        return layer.finish();
    };
    let loader_path = Path::new(OsStr::from_bytes(loader));
    let loader_name = loader_path.strip_prefix("/").map_err(|_| form())?;
    layer.add_file(loader_name, &read_file(loader_path)?, 0o755)?;
    let mut libraries = program.libraries.clone();
    libraries.extend(find_resolver_libraries(&program.libraries));
    for library in &libraries {
        let bytes = read_file(library)?;
        let name = library
            .file_name()
            .ok_or_else(|| SelfImageError::UnknownForm {
                path: library.clone(),
            })?;
        layer.add_file(Path::new(LIBRARIES).join(name), &bytes, 0o755)?;
        // Others ask for a library by this name, of which the file's name may be a longer form.
        if let Some(soname) = elf::soname(&bytes).filter(|soname| *soname != name.as_bytes()) {
            let link = Path::new(LIBRARIES).join(OsStr::from_bytes(soname));
            layer.add_link(&link, Path::new(name))?;
        }
    }
    layer.finish()
}

/// What lies beside the C library and is opened only on demand.
fn find_resolver_libraries(mapped: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_glibc = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.as_bytes();
            name == b"libc.so.6" || (name.starts_with(b"libc-2.") && name.ends_with(b".so"))
        })
    };
    let Some(dir) = mapped.iter().find(is_glibc).and_then(|path| path.parent()) else {
        return Vec::new();
    };
    RESOLVER_LIBRARIES
        .iter()
        .filter_map(|name| std::fs::canonicalize(dir.join(name)).ok())
        .collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, SelfImageError> {
    let unreadable = |error| SelfImageError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(unreadable(std::io::Error::other("larger than a gibibyte")));
    }
    Ok(bytes)
}

/// A tar archive without times and owners.
struct Archive {
    builder: tar::Builder<Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            builder: tar::Builder::new(Vec::new()),
            dirs: BTreeSet::new(),
        }
    }
}

impl Archive {
    fn add_file(
        &mut self,
        name: impl AsRef<Path>,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(), SelfImageError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut header = self.header(name.as_ref(), tar::EntryType::Regular, mode)?;
        header.set_size(len);
        self.builder
            .append_data(&mut header, name.as_ref(), bytes)
            .map_err(in_memory)
    }

    fn add_link(&mut self, name: &Path, target: &Path) -> Result<(), SelfImageError> {
        let mut header = self.header(name, tar::EntryType::Symlink, 0o777)?;
        header.set_size(0);
        self.builder
            .append_link(&mut header, name, target)
            .map_err(in_memory)
    }

    /// A header for an entry, after entries for the directories above it: those that an engine
    /// makes up itself may be closed to the user of the container.
    fn header(
        &mut self,
        name: &Path,
        kind: tar::EntryType,
        mode: u32,
    ) -> Result<tar::Header, SelfImageError> {
        let above: Vec<_> = name.ancestors().skip(1).collect();
        for dir in above.into_iter().rev() {
            if dir.as_os_str().is_empty() || !self.dirs.insert(dir.to_owned()) {
                continue;
            }
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            self.builder
                .append_data(&mut header, dir, std::io::empty())
                .map_err(in_memory)?;
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        Ok(header)
    }

    fn finish(self) -> Result<Vec<u8>, SelfImageError> {
        self.builder.into_inner().map_err(in_memory)
    }
}

fn in_memory(error: std::io::Error) -> SelfImageError {
    SelfImageError::Unreadable {
        path: PathBuf::from("the archive in memory"),
        error,
    }
}

/// The two facts that are wanted of ELF files (elf(5)): 64 bits, lower byte first, as on every
/// processor for which charon has images.
mod elf {
    const PT_LOAD: u32 = 1;
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    const DT_STRTAB: u64 = 5;
    const DT_SONAME: u64 = 14;

    struct Segment {
        kind: u32,
        offset: u64,
        address: u64,
        len: u64,
    }

    /// The loader that an executable names. `None` where this is not such an executable,
    /// `Some(None)` where it names none, being static.
    pub(crate) fn interpreter(file: &[u8]) -> Option<Option<&[u8]>> {
        let Some(segment) = segments(file)?.into_iter().find(|s| s.kind == PT_INTERP) else {
            return Some(None);
        };
        let bytes = part(file, segment.offset, segment.len)?;
        Some(Some(bytes.strip_suffix(&[0]).unwrap_or(bytes)))
    }

    /// The name by which others ask for a library.
    pub(crate) fn soname(file: &[u8]) -> Option<&[u8]> {
        let segments = segments(file)?;
        let dynamic = segments.iter().find(|s| s.kind == PT_DYNAMIC)?;
        let entries = part(file, dynamic.offset, dynamic.len)?;
        let value_of = |tag: u64| {
            entries
                .chunks_exact(16)
                .find(|entry| u64_at(entry, 0) == Some(tag))
                .and_then(|entry| u64_at(entry, 8))
        };
        let name_address = value_of(DT_STRTAB)?.checked_add(value_of(DT_SONAME)?)?;
        let segment = segments.iter().find(|s| {
            s.kind == PT_LOAD
                && name_address
                    .checked_sub(s.address)
                    .is_some_and(|within| within < s.len)
        })?;
        let within = name_address.checked_sub(segment.address)?;
        let rest = part(
            file,
            segment.offset.checked_add(within)?,
            segment.len.checked_sub(within)?,
        )?;
        let name = rest.split(|byte| *byte == 0).next()?;
        let is_plain = !name.is_empty() && !name.contains(&b'/');
        is_plain.then_some(name)
    }

    fn segments(file: &[u8]) -> Option<Vec<Segment>> {
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let start = u64_at(file, 32)?;
        let size = u64::from(u16_at(file, 54)?);
        let count = u64::from(u16_at(file, 56)?);
        (0..count)
            .map(|index| {
                let header = part(file, start.checked_add(index.checked_mul(size)?)?, 56)?;
                Some(Segment {
                    kind: u32_at(header, 0)?,
                    offset: u64_at(header, 8)?,
                    address: u64_at(header, 16)?,
                    len: u64_at(header, 32)?,
                })
            })
            .collect()
    }

    fn part(file: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        file.get(start..end)
    }

    fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u16::from_le_bytes)
    }

    fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)
    }

    fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn names_in(archive: &[u8]) -> Vec<String> {
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn the_running_program_is_packed_with_loader_and_libraries() {
        let layer = pack_layer(&program_of(&SelfImageSpec::default()).unwrap()).unwrap();
        let names = names_in(&layer);
        assert!(names.contains(&"charon-dkg".to_owned()), "{names:?}");
        let executable = std::fs::read(EXECUTABLE).unwrap();
        let Some(loader) = elf::interpreter(&executable).unwrap() else {
            // A static build has nothing more to pack.
            assert!(!names.iter().any(|name| name.starts_with("lib/charon-dkg/")));
            return;
        };
        let loader = String::from_utf8(loader.to_vec()).unwrap();
        assert!(names.contains(&loader.trim_start_matches('/').to_owned()));
        assert!(
            names
                .iter()
                .any(|name| name.starts_with("lib/charon-dkg/libc"))
        );
    }

    #[test]
    fn packing_twice_gives_the_same_bytes_and_other_settings_give_another_label() {
        let program = program_of(&SelfImageSpec::default()).unwrap();
        let spec = SelfImageSpec::default();
        let one = Packed::of(&program, &spec, None).unwrap();
        let two = Packed::of(&program, &spec, None).unwrap();
        assert!(one.archive == two.archive);
        assert_eq!(one.reference, two.reference);
        let other = SelfImageSpec {
            entrypoint: vec![PROGRAM.to_owned(), "simulator".to_owned()],
            ..spec
        };
        let other = Packed::of(&program, &other, None).unwrap();
        assert_ne!(one.content, other.content);
        assert_ne!(one.reference, other.reference);
    }

    #[test]
    fn only_code_of_other_files_is_a_library() {
        let maps = b"00400000-00401000 r-xp 00000000 08:01 1    /opt/charon-dkg\n\
            7f00-7f10 r--p 00000000 08:01 2    /usr/lib/libc.so.6\n\
            7f10-7f20 r-xp 00000000 08:01 2    /usr/lib/libc.so.6\n\
            7f20-7f30 r--p 00000000 08:01 3    /usr/lib/locale/locale-archive\n\
            7f30-7f40 r-xp 00000000 08:01 4    /usr/lib/with space.so\n\
            7ffd-7ffe r-xp 00000000 00:00 0    [vdso]\n";
        let libraries = mapped_libraries(maps, Path::new("/opt/charon-dkg")).unwrap();
        let expected = ["/usr/lib/libc.so.6", "/usr/lib/with space.so"];
        assert!(
            libraries
                .iter()
                .map(|path| path.as_path())
                .eq(expected.map(Path::new))
        );
    }

    #[test]
    fn a_library_that_was_replaced_is_told() {
        let maps = b"7f10-7f20 r-xp 00000000 08:01 2    /usr/lib/libc.so.6 (deleted)\n";
        let refused = mapped_libraries(maps, Path::new("/x"));
        assert!(matches!(refused, Err(SelfImageError::Replaced { .. })));
    }

    #[test]
    fn libraries_know_the_name_others_use() {
        let program = program_of(&SelfImageSpec::default()).unwrap();
        for library in &program.libraries {
            let bytes = std::fs::read(library).unwrap();
            let soname = elf::soname(&bytes).map(String::from_utf8_lossy);
            assert!(
                soname.is_some_and(|name| name.contains(".so")),
                "{library:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn files_of_any_form_are_refused_or_read_but_never_overrun(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            looks_like_elf in any::<bool>(),
        ) {
            if looks_like_elf {
                bytes.splice(..6.min(bytes.len()), *b"\x7fELF\x02\x01");
            }
            let _: Option<Option<&[u8]>> = elf::interpreter(&bytes);
            let _: Option<&[u8]> = elf::soname(&bytes);
        }
    }
}
