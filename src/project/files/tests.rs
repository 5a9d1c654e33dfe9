//! Paths that should not lead out, and things that are no files.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::*;
use crate::config::FileReach;

/// A home with something in it and something beside it.
struct Lab {
    root: TempDir,
}

impl Lab {
    fn new() -> Lab {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("home/sub")).unwrap();
        fs::write(root.path().join("home/sub/a.txt"), "inside").unwrap();
        fs::write(root.path().join("secret.txt"), "outside").unwrap();
        Lab { root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn home(&self, reach: FileReach) -> Home {
        Home::new(self.path("home"), reach)
    }

    fn partials(&self) -> Partials {
        Partials::open(self.path("records"))
    }
}

fn read(home: &Home, path: impl AsRef<Path>) -> Result<String> {
    match home.open(path.as_ref())? {
        Opened::File(mut file, _) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        Opened::Folder(_) => Ok("a folder".into()),
    }
}

#[test]
fn with_home_nothing_outside_is_reached() {
    let lab = Lab::new();
    let home = lab.home(FileReach::Home);
    symlink("../secret.txt", lab.path("home/relative")).unwrap();
    symlink(lab.path("secret.txt"), lab.path("home/absolute")).unwrap();
    symlink("..", lab.path("home/up")).unwrap();
    symlink("/", lab.path("home/machine")).unwrap();
    symlink("sub", lab.path("home/down")).unwrap();
    let outside = lab.path("secret.txt");
    let smc = format!(".smc/root{}", outside.display());
    for path in ["../secret.txt", "sub/../../secret.txt", "relative", "absolute", "up/secret.txt", "machine/etc"] {
        assert!(matches!(read(&home, path), Err(Error::Outside)), "{path}");
    }
    for path in [outside.as_path(), Path::new(&smc), Path::new("/etc/hosts"), Path::new(".smc/root/etc/hosts")] {
        assert!(matches!(read(&home, path), Err(Error::Outside)), "{}", path.display());
    }
    for path in ["sub/a.txt", "down/a.txt", "sub/../sub/a.txt", "./sub/a.txt"] {
        assert_eq!(read(&home, path).unwrap(), "inside", "{path}");
    }
    assert_eq!(read(&home, lab.path("home/sub/a.txt")).unwrap(), "inside");
    assert_eq!(read(&home, "").unwrap(), "a folder");
}

#[test]
fn with_machine_paths_work_as_in_a_terminal() {
    let lab = Lab::new();
    let home = lab.home(FileReach::Machine);
    symlink(lab.path("secret.txt"), lab.path("home/absolute")).unwrap();
    let outside = lab.path("secret.txt");
    let smc = format!(".smc/root{}", outside.display());
    for path in [outside.as_path(), Path::new(&smc), Path::new("absolute"), Path::new("../secret.txt")] {
        assert_eq!(read(&home, path).unwrap(), "outside", "{}", path.display());
    }
    assert_eq!(read(&home, "sub/a.txt").unwrap(), "inside");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let lab = Lab::new();
    mkfifo(&lab.path("home/pipe"), Mode::S_IRUSR).unwrap();
    let _socket = UnixListener::bind(lab.path("home/socket")).unwrap();
    symlink("loop", lab.path("home/loop")).unwrap();
    for reach in [FileReach::Home, FileReach::Machine] {
        let home = lab.home(reach);
        // This also returns: nobody will ever write into the pipe.
        for path in ["pipe", "socket"] {
            assert!(matches!(read(&home, path), Err(Error::Special)), "{path}");
        }
        for path in ["missing", "sub/missing/x", "loop", &"x".repeat(300)] {
            assert!(matches!(read(&home, path), Err(Error::NotFound)), "{path}");
        }
        assert!(matches!(read(&home, "sub/a.txt/x"), Err(Error::NotDirectory)));
        assert!(matches!(read(&home, "a\0b"), Err(Error::BadPath)));
        let odd = Path::new(OsStr::from_bytes(b"odd-\xff"));
        fs::write(lab.path("home").join(odd), "bytes").unwrap();
        assert_eq!(read(&home, odd).unwrap(), "bytes");
    }
    assert!(matches!(read(&lab.home(FileReach::Machine), "/dev/null"), Err(Error::Special)));
}

#[test]
fn a_folder_that_turns_into_a_link_leads_nowhere() {
    let lab = Lab::new();
    fs::create_dir(lab.path("evil")).unwrap();
    fs::write(lab.path("evil/a.txt"), "outside").unwrap();
    symlink(lab.path("evil"), lab.path("home/link")).unwrap();
    let home = lab.home(FileReach::Home);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (from, to) in [("sub", "kept"), ("link", "sub"), ("sub", "link"), ("kept", "sub")] {
                    fs::rename(lab.path("home").join(from), lab.path("home").join(to)).unwrap();
                }
            }
        });
        let (mut rounds, mut inside) = (0, 0);
        // However the threads take turns, at some time it is what it was.
        while rounds < 2000 || inside == 0 {
            rounds += 1;
            match read(&home, "sub/a.txt") {
                Ok(text) => {
                    assert_eq!(text, "inside");
                    inside += 1;
                }
                Err(error) => assert!(!matches!(error, Error::Io(_)), "{error}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_appears_when_it_is_complete() {
    let lab = Lab::new();
    let (home, partials) = (lab.home(FileReach::Home), lab.partials());
    let partial = partials.begin(&home, Path::new("new/deep"), OsStr::new("x.bin")).unwrap();
    partial.writer()(b"hello", 0).unwrap();
    partial.writer()(b"HELLO world", 0).unwrap();
    assert!(!lab.path("home/new/deep/x.bin").exists());
    let names = || fs::read_dir(lab.path("home/new/deep")).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert!(names()[0].to_str().unwrap().starts_with(".x.bin.partialupload-"));
    partial.commit(5).unwrap();
    assert_eq!(names(), ["x.bin"]);
    assert_eq!(fs::read(lab.path("home/new/deep/x.bin")).unwrap(), b"HELLO");
    drop(partials.begin(&home, Path::new(""), OsStr::new("y")).unwrap());
    assert!(
        !fs::read_dir(lab.path("home")).unwrap().any(|entry| entry.unwrap().path().to_str().unwrap().contains("y."))
    );
    assert_eq!(fs::read_dir(lab.path("records")).unwrap().count(), 0);
}

#[test]
fn a_replaced_file_keeps_its_permissions_and_a_link_is_replaced_itself() {
    let lab = Lab::new();
    let (home, partials) = (lab.home(FileReach::Home), lab.partials());
    let mode = |path: &str| fs::symlink_metadata(lab.path(path)).unwrap().permissions().mode() & 0o7777;
    let put = |name: &str| {
        let partial = partials.begin(&home, Path::new(""), OsStr::new(name)).unwrap();
        partial.writer()(b"new", 0).unwrap();
        partial.commit(3).unwrap();
    };
    fs::write(lab.path("home/old"), "old").unwrap();
    fs::set_permissions(lab.path("home/old"), fs::Permissions::from_mode(0o751)).unwrap();
    put("old");
    assert_eq!(mode("home/old"), 0o751);
    fs::write(lab.path("home/usual"), "x").unwrap();
    put("fresh");
    assert_eq!(mode("home/fresh"), mode("home/usual"));
    symlink("../secret.txt", lab.path("home/link")).unwrap();
    put("link");
    assert_eq!(fs::read(lab.path("home/link")).unwrap(), b"new");
    assert_eq!(fs::read(lab.path("secret.txt")).unwrap(), b"outside");
}

#[test]
fn no_file_is_written_where_none_may_be() {
    let lab = Lab::new();
    let (home, partials) = (lab.home(FileReach::Home), lab.partials());
    symlink("..", lab.path("home/up")).unwrap();
    symlink("nowhere", lab.path("home/broken")).unwrap();
    let begin = |folder: &str, name: &str| partials.begin(&home, Path::new(folder), OsStr::new(name)).err().unwrap();
    for folder in ["..", "sub/../..", "/tmp", ".smc/root/tmp", "up", "up/new"] {
        assert!(matches!(begin(folder, "x"), Error::Outside), "{folder}");
    }
    for name in ["", ".", "..", "a/b", "a\0", &"x".repeat(256)] {
        assert!(matches!(begin("", name), Error::BadPath), "{name}");
    }
    assert!(matches!(begin("", "sub"), Error::IsDirectory));
    for folder in ["sub/a.txt", "broken", "broken/x"] {
        assert!(matches!(begin(folder, "x"), Error::NotDirectory), "{folder}");
    }
    assert!(!lab.path("new").exists());
    assert_eq!(fs::read_dir(lab.path("records")).map_or(0, Iterator::count), 0);
    // The longest name there is still has a name for its parts.
    partials.begin(&home, Path::new(""), OsStr::new(&"x".repeat(255))).unwrap().commit(0).unwrap();
    assert!(lab.path("home").join("x".repeat(255)).exists());
}

#[test]
fn what_a_crash_left_is_removed_by_the_next_start() {
    let lab = Lab::new();
    let home = lab.home(FileReach::Home);
    let partial = lab.partials().begin(&home, Path::new("sub"), OsStr::new("x")).unwrap();
    std::mem::forget(partial);
    assert_eq!(fs::read_dir(lab.path("home/sub")).unwrap().count(), 2);
    // A record can't be made to name anything else.
    fs::write(lab.path("records/0123"), lab.path("secret.txt").as_os_str().as_bytes()).unwrap();
    lab.partials();
    assert_eq!(fs::read_dir(lab.path("home/sub")).unwrap().count(), 1);
    assert!(lab.path("secret.txt").exists());
    assert_eq!(fs::read_dir(lab.path("records")).unwrap().count(), 0);
}

/// Packs a folder below home and gives the archive.
fn packed(lab: &Lab, folder: &str) -> Result<Vec<u8>> {
    let Opened::Folder(folder) = lab.home(FileReach::Home).open(Path::new(folder))? else { panic!("not a folder") };
    let mut archive = Vec::new();
    archive::pack(&folder, OsStr::new("top"), &mut archive)?;
    Ok(archive)
}

#[test]
fn an_archive_holds_what_is_in_the_folder_and_nothing_else() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path("home/box/empty")).unwrap();
    fs::create_dir_all(lab.path("home/box/in/ner")).unwrap();
    fs::write(lab.path("home/box/in/ner/ä b.txt"), "text".repeat(1000)).unwrap();
    fs::write(lab.path("home/box").join(OsStr::from_bytes(b"odd-\xff")), "odd").unwrap();
    symlink("../../secret.txt", lab.path("home/box/link")).unwrap();
    symlink("/", lab.path("home/box/machine")).unwrap();
    mkfifo(&lab.path("home/box/pipe"), Mode::S_IRUSR).unwrap();
    let archive = packed(&lab, "box").unwrap();
    assert!(archive.len() < 3000);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let names: Vec<_> = (0..archive.len()).map(|i| archive.by_index(i).unwrap().name_raw().to_vec()).collect();
    assert_eq!(
        names.iter().map(|name| name.as_slice()).collect::<Vec<_>>(),
        [
            &b"top/"[..],
            b"top/empty/",
            b"top/in/",
            b"top/in/ner/",
            "top/in/ner/ä b.txt".as_bytes(),
            b"top/link",
            b"top/machine",
            b"top/odd-\xff",
        ]
    );
    let mut text = String::new();
    archive.by_name("top/in/ner/ä b.txt").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "text".repeat(1000));
    let mut link = archive.by_name("top/link").unwrap();
    assert!(link.is_symlink());
    let mut target = String::new();
    link.read_to_string(&mut target).unwrap();
    assert_eq!(target, "../../secret.txt");
}

#[test]
fn an_archive_that_fails_is_not_complete() {
    /// Takes so many bytes.
    struct Full(Vec<u8>, usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() >= self.1 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lab = Lab::new();
    let mut deep = lab.path("home/deep");
    for _ in 0..70 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let Opened::Folder(folder) = lab.home(FileReach::Home).open(Path::new("deep")).unwrap() else { panic!() };
    let mut out = Vec::new();
    assert!(matches!(archive::pack(&folder, OsStr::new("top"), &mut out), Err(Error::TooMuch)));
    assert!(zip::ZipArchive::new(std::io::Cursor::new(out)).is_err());
    let mut full = Full(Vec::new(), 100);
    assert!(matches!(archive::pack(&folder, OsStr::new("top"), &mut full), Err(Error::Io(_))));
    assert!(full.0.len() < 1000);
}
