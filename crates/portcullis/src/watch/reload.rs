//! Functions made of directories by a call: `S3Bucket` `hot-reload`, `S3Key` a directory below the one the operator
//! named. Which function is made of which is kept in the data directory, so that it holds over a restart.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use control::{Directories, FunctionKey};

use super::{
    pack::{self, Unpacked},
    parse_arn,
};

/// Name of the list in the data directory.
const FILE: &str = "hot-reload.json";
/// Functions made of directories.
const FUNCTIONS_MAX: usize = 256;
/// How long a call waits for a directory in which somebody is writing.
const CHANGING_MAX: Duration = Duration::from_secs(1);
const CHANGING_PAUSE: Duration = Duration::from_millis(20);

/// Something the watching thread should know.
pub enum News {
    /// A function is made of this directory, named relative to the parent.
    Made(FunctionKey, PathBuf),
    /// It is no more.
    Unmade(FunctionKey),
}

/// The directories below one, and the functions made of them.
pub struct HotReload {
    /// True path of the parent.
    parent: PathBuf,
    root: Arc<OwnedFd>,
    file: PathBuf,
    made: Mutex<BTreeMap<String, PathBuf>>,
    news: mpsc::Sender<News>,
    wake: Arc<OwnedFd>,
}

impl std::fmt::Debug for HotReload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotReload").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl HotReload {
    /// Below `parent`; what was made before a restart is news.
    ///
    /// # Errors
    /// When the parent cannot be read.
    pub fn open(
        parent: &Path,
        data_dir: &Path,
        news: mpsc::Sender<News>,
        wake: Arc<OwnedFd>,
    ) -> anyhow::Result<HotReload> {
        let named = parent;
        let opened = parent.canonicalize().and_then(|parent| Ok((pack::open_root(&parent)?, parent)));
        let (root, parent) =
            opened.with_context(|| format!("hot_reload: {} is no directory that can be read", named.display()))?;
        let file = data_dir.join(FILE);
        let made = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, file = %file.display(), "the list of functions made of directories is unreadable");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        let hot = HotReload { parent, root: Arc::new(root), file, made: Mutex::new(made), news, wake };
        let known = hot.made().clone();
        for (arn, directory) in known {
            match (parse_arn(&arn), hot.below(&directory)) {
                (Some(function), Some(relative)) => hot.tell(News::Made(function, relative)),
                _ => {
                    let directory = directory.display();
                    tracing::warn!(function = arn, %directory, "a function is made of a directory that is not below --hot-reload; it keeps its code");
                }
            }
        }
        Ok(hot)
    }

    /// The parent, to open directories below.
    #[must_use]
    pub fn root(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.root)
    }

    /// True path of the parent.
    #[must_use]
    pub fn parent(&self) -> &Path {
        &self.parent
    }

    /// An absolute directory relative to the parent, if it lies below.
    fn below(&self, directory: &Path) -> Option<PathBuf> {
        if !directory.is_absolute() {
            return None;
        }
        // A link on the way is followed here; when it is opened none may lead out.
        let relative = directory.canonicalize().ok()?.strip_prefix(&self.parent).ok()?.to_owned();
        Some(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative })
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: News) {
        // Nobody listens once the server stops.
        let _ = self.news.send(news);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// Writes the list: whole or not at all.
    fn save(&self, made: &BTreeMap<String, PathBuf>) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(made)?)?;
        file.sync_all()?;
        fs::rename(beside, &self.file)
    }
}

impl Directories for HotReload {
    fn pack(&self, directory: &str) -> Result<Vec<u8>, String> {
        // Whether something else is there is nobody's business, so there is one sentence for all of it.
        let relative = self
            .below(Path::new(directory))
            .ok_or_else(|| format!("it names no directory below {} (--hot-reload)", self.parent.display()))?;
        if self.made().len() >= FUNCTIONS_MAX {
            return Err(format!("{FUNCTIONS_MAX} functions are made of directories already"));
        }
        let deadline = Instant::now() + CHANGING_MAX;
        loop {
            let packed = pack::open_below(&self.root, &relative).and_then(|root| pack::pack(&root));
            match packed {
                Ok(zip) => return Ok(zip),
                Err(Unpacked::Unusable(why)) => return Err(why),
                Err(Unpacked::Changing) if Instant::now() < deadline => std::thread::sleep(CHANGING_PAUSE),
                Err(Unpacked::Changing) => return Err("somebody is writing there; try again".to_owned()),
            }
        }
    }

    fn took(&self, function: &FunctionKey, directory: Option<&str>) {
        let arn = super::arn(function);
        let mut made = self.made();
        let changed = match directory.and_then(|directory| Some((directory, self.below(Path::new(directory))?))) {
            Some((directory, relative)) => {
                self.tell(News::Made(function.clone(), relative));
                made.insert(arn, PathBuf::from(directory)).as_deref() != Some(Path::new(directory))
            }
            None => match made.remove(&arn) {
                Some(_) => {
                    self.tell(News::Unmade(function.clone()));
                    true
                }
                None => false,
            },
        };
        if changed && let Err(error) = self.save(&made) {
            tracing::error!(%error, file = %self.file.display(), "which functions are made of directories cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        news: mpsc::Receiver<News>,
        hot: HotReload,
    }

    fn open(dir: tempfile::TempDir) -> World {
        let (sender, news) = mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let hot = HotReload::open(&dir.path().join("below"), dir.path(), sender, wake).unwrap();
        World { dir, news, hot }
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("below/f")).unwrap();
        fs::create_dir_all(dir.path().join("beside")).unwrap();
        for file in ["below/f/index.js", "beside/index.js"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        open(dir)
    }

    fn function() -> FunctionKey {
        FunctionKey { account: "111111111111".into(), region: "us-east-1".into(), name: "f".into() }
    }

    #[test]
    fn directories_below_the_parent_are_packed_and_others_are_not_even_found() {
        let world = world();
        let path = |name: &str| world.dir.path().join(name).to_str().unwrap().to_owned();
        assert!(world.hot.pack(&path("below/f")).is_ok());
        std::os::unix::fs::symlink(path("beside"), path("below/link")).unwrap();
        for name in ["beside", "below/../beside", "nowhere", "below/link", "/etc", "/", "below/f/index.js/x"] {
            let why = world.hot.pack(&path(name)).unwrap_err();
            assert!(why.contains("names no directory below"), "{name}: {why}");
        }
        assert!(world.hot.pack("f").is_err(), "a relative directory is relative to nothing a caller knows");
    }

    #[test]
    fn what_functions_are_made_of_holds_over_a_restart_until_it_is_something_else() {
        let world = world();
        let path = world.dir.path().join("below/f").to_str().unwrap().to_owned();
        world.hot.took(&function(), Some(&path));
        assert!(matches!(world.news.try_recv(), Ok(News::Made(key, _)) if key == function()));
        let World { dir, .. } = world;
        let world = open(dir);
        assert!(
            matches!(world.news.try_recv(), Ok(News::Made(key, relative)) if key == function() && relative == Path::new("f"))
        );
        world.hot.took(&function(), None);
        assert!(matches!(world.news.try_recv(), Ok(News::Unmade(key)) if key == function()));
        let World { dir, .. } = world;
        assert!(open(dir).news.try_recv().is_err());
    }
}
