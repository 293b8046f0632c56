//! Code under work: a directory whose saved files become a function's code within a moment.
//!
//! One thread watches all directories. When nothing has been written for [`QUIET`], the directory is packed in memory
//! and, if it is new, sent the way of UpdateFunctionCode. What cannot be code, such as a file that is half written or
//! does not parse, changes nothing: the old code serves on until the next save.

mod pack;
mod reload;
mod syntax;
mod tree;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use control::{Code, Control, Directories, FunctionKey};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::runtime::Handle;

use crate::settings::Settings;
use pack::Unpacked;
use reload::{HotReload, News};
use syntax::{Check, Interpreters};
use tree::Tree;

/// How long nothing may have happened before a directory is packed: editors write, rename and touch in a row.
const QUIET: Duration = Duration::from_millis(50);
/// A directory in which something happens all the time is packed after so long nevertheless.
const NOISE_MAX: Duration = Duration::from_millis(500);
/// A file that is held open for writing is waited for so long: a log file in the directory is never closed.
const WRITING_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether a function or directory that was not there is there now.
const MISSING_PAUSE: Duration = Duration::from_millis(250);
/// Directories.
const WATCHES_MAX: usize = 64;
/// Region of a function that is named without one.
const REGION: &str = "us-east-1";
/// The account of a development server without accounts.
const DEVELOPMENT_ACCOUNT: &str = "000000000000";

/// A function and the directory its code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    function: Named,
    directory: PathBuf,
}

/// How a function is named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// In the only account.
    Bare(String),
    Whole(FunctionKey),
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Named::Bare(name) => f.write_str(name),
            Named::Whole(key) => f.write_str(&arn(key)),
        }
    }
}

/// What `--watch` named.
///
/// # Errors
/// A sentence for the user.
pub fn watches(settings: &Settings) -> anyhow::Result<Vec<Watch>> {
    if settings.watch.len() > WATCHES_MAX {
        bail!("watch names {} directories, and {WATCHES_MAX} are watched at most", settings.watch.len());
    }
    settings.watch.iter().map(|text| parse(text)).collect()
}

fn parse(text: &str) -> anyhow::Result<Watch> {
    let wrong = || {
        anyhow!(
            "watch is `{text}`, but must be FUNCTION=DIR, such as authorizer=./src or \
             arn:aws:lambda:us-east-1:222222222222:function:authorizer=./src"
        )
    };
    let (function, directory) = text.split_once('=').ok_or_else(wrong)?;
    let function = if is_name(function) {
        Named::Bare(function.to_owned())
    } else {
        Named::Whole(parse_arn(function).ok_or_else(wrong)?)
    };
    if directory.is_empty() {
        return Err(wrong());
    }
    Ok(Watch { function, directory: PathBuf::from(directory) })
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn parse_arn(text: &str) -> Option<FunctionKey> {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "lambda", region, account, "function", name]
            if is_name(name) && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) =>
        {
            let (account, region, name) = ((*account).to_owned(), (*region).to_owned(), (*name).to_owned());
            Some(FunctionKey { account, region, name })
        }
        _ => None,
    }
}

fn arn(function: &FunctionKey) -> String {
    format!("arn:aws:lambda:{}:{}:function:{}", function.region, function.account, function.name)
}

/// The directories of `--watch` and `--hot-reload`, before there is a control plane to tell of them.
pub struct Watching {
    watches: Vec<Place>,
    hot: Option<Arc<HotReload>>,
    news: mpsc::Receiver<News>,
    wake: Arc<OwnedFd>,
}

impl Watching {
    /// Looks at what the settings name.
    ///
    /// # Errors
    /// When a directory is none.
    pub fn prepare(settings: &Settings) -> anyhow::Result<Watching> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("watch")?);
        let (sender, news) = mpsc::channel();
        let hot = settings
            .hot_reload
            .as_deref()
            .map(|parent| HotReload::open(parent, &settings.data_dir, sender, Arc::clone(&wake)).map(Arc::new));
        let places = watches(settings)?.into_iter().map(|watch| {
            let directory = watch.directory.canonicalize();
            let directory = directory
                .and_then(|found| found.read_dir().map(|_| found))
                .with_context(|| format!("watch: {} is no directory that can be read", watch.directory.display()))?;
            Ok(Place::new(watch.function, directory, None))
        });
        Ok(Watching { watches: places.collect::<anyhow::Result<_>>()?, hot: hot.transpose()?, news, wake })
    }

    /// Where calls may name directories, if they may.
    #[must_use]
    pub fn directories(&self) -> Option<Arc<dyn Directories>> {
        self.hot.clone().map(|hot| hot as Arc<dyn Directories>)
    }
}

/// The thread that watches.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

impl Watcher {
    /// Begins to watch; `None` if there is nothing to watch.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(
        watching: Watching,
        settings: &Settings,
        control: Control,
        runtime: Handle,
    ) -> anyhow::Result<Option<Watcher>> {
        let Watching { watches, hot, news, wake } = watching;
        if watches.is_empty() && hot.is_none() {
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            control,
            interpreters: Interpreters { node: settings.node.clone(), python: settings.python.clone() },
            development: settings.dev_credentials,
            places: watches,
            hot,
            news,
            stop: Arc::clone(&stop),
            wake: Arc::clone(&wake),
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            // What a change sets off runs where everything of the control plane does.
            let _entered = runtime.enter();
            work.run();
        });
        Ok(Some(Watcher { stop, wake, thread: thread.context("watch: no thread can be started")? }))
    }

    /// Watches no more. Waits for a change that is being made.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        let _ = self.thread.join();
    }
}

struct Work {
    control: Control,
    interpreters: Interpreters,
    development: bool,
    places: Vec<Place>,
    hot: Option<Arc<HotReload>>,
    news: mpsc::Receiver<News>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

/// One directory.
struct Place {
    function: Named,
    directory: PathBuf,
    /// Of a directory that a call named: what it may not lead out of, and the way from there.
    below: Option<(Arc<OwnedFd>, PathBuf)>,
    /// `None` while the directory cannot be watched.
    tree: Option<Tree>,
    /// When something happened that is not sent yet: first and last.
    pending: Option<(Instant, Instant)>,
    /// Not before.
    next: Instant,
    /// How the function was run when last looked at.
    code: Option<Code>,
    /// Begun with the last save, so that it is done when the directory is quiet.
    check: Option<Check>,
    /// What was last said, so that nothing is said twice in a row.
    said: String,
}

impl Place {
    fn new(function: Named, directory: PathBuf, below: Option<(Arc<OwnedFd>, PathBuf)>) -> Place {
        let now = Instant::now();
        // What was saved before the start is as new as what is saved after it.
        Place {
            function,
            directory,
            below,
            tree: None,
            pending: Some((now, now)),
            next: now,
            code: None,
            check: None,
            said: String::new(),
        }
    }

    fn packed(&self) -> Result<Vec<u8>, Unpacked> {
        // Opened anew each time: the directory may have been replaced by another of its name.
        let root = match &self.below {
            Some((parent, relative)) => pack::open_below(parent, relative)?,
            None => pack::open_root(&self.directory)
                .map_err(|error| Unpacked::Unusable(format!("it cannot be read: {error}")))?,
        };
        pack::pack(&root)
    }

    /// When it is to be looked at again; `None`: when something happens.
    fn due(&self) -> Option<Instant> {
        if self.tree.is_none() {
            return Some(self.next);
        }
        let (first, last) = self.pending?;
        let quiet = (last + QUIET).min(first + NOISE_MAX);
        let written = self.tree.as_ref().and_then(Tree::written_since).map(|since| since + WRITING_MAX);
        Some(written.map_or(quiet, |written| quiet.max(written)).max(self.next))
    }

    /// Says something once.
    fn say(&mut self, text: &str) {
        if self.said != text {
            tracing::warn!(function = %self.function, directory = %self.directory.display(), "{text}");
            text.clone_into(&mut self.said);
        }
    }
}

impl Work {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut woken = [0; 8];
            let _ = rustix::io::read(&*self.wake, &mut woken);
            self.take_news();
            let now = Instant::now();
            let mut places = std::mem::take(&mut self.places);
            for place in &mut places {
                self.look(place, now);
            }
            self.places = places;
            self.wait();
        }
    }

    /// Functions that calls have made of directories, or of something else.
    fn take_news(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            let Some(hot) = &self.hot else { return };
            let (function, relative) = match news {
                News::Made(function, relative) => (function, Some(relative)),
                News::Unmade(function) => (function, None),
            };
            let function = Named::Whole(function);
            self.places.retain(|place| place.below.is_none() || place.function != function);
            if let Some(relative) = relative {
                let directory = hot.parent().join(&relative);
                self.places.push(Place::new(function, directory, Some((hot.root(), relative))));
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&self) {
        let due = self.places.iter().filter_map(Place::due).min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let trees = self.places.iter().filter_map(|place| place.tree.as_ref());
        let mut polled: Vec<PollFd<'_>> = trees.map(|tree| PollFd::new(tree, PollFlags::IN)).collect();
        polled.push(PollFd::new(&*self.wake, PollFlags::IN));
        if let Err(error) = poll(&mut polled, timeout.as_ref())
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "watched directories cannot be waited for");
            std::thread::sleep(MISSING_PAUSE);
        }
    }

    /// Reads the news of a place, and does what is due there.
    fn look(&self, place: &mut Place, now: Instant) {
        if place.tree.is_none() && now >= place.next {
            match Tree::watch(&place.directory) {
                Ok(tree) => {
                    place.tree = Some(tree);
                    place.pending = Some((now, now));
                }
                Err(error) => {
                    place.next = now + MISSING_PAUSE;
                    place.say(&format!("the directory cannot be watched: {error}. Its function keeps its code"));
                }
            }
        }
        let Some(tree) = &mut place.tree else { return };
        match tree.news(now) {
            Ok(false) => {}
            Ok(true) => {
                place.pending = Some(place.pending.map_or((now, now), |(first, _)| (first, now)));
                let is_whole = tree.written_since().is_none();
                place.check = place.code.as_ref().filter(|_| is_whole).map(|code| self.begin(&place.directory, code));
            }
            Err(error) => {
                place.tree = None;
                place.next = now + MISSING_PAUSE;
                return place.say(&format!("the directory cannot be watched: {error}. Its function keeps its code"));
            }
        }
        // What is said to be due by a file that is being written may have been decided before that was known.
        if place.pending.is_some() && place.due().is_some_and(|due| now >= due) {
            self.send(place, now);
        }
    }

    /// Packs a directory and sends it, if it is new and can be code.
    fn send(&self, place: &mut Place, now: Instant) {
        let function = match self.resolve(&place.function) {
            Ok(function) => function,
            Err(text) => {
                place.next = now + MISSING_PAUSE;
                return place.say(&text);
            }
        };
        let code = match self.control.code_of(&function) {
            Ok(Some(code)) => code,
            Ok(None) => {
                place.next = now + MISSING_PAUSE;
                return place.say("there is no such function yet; it gets this code as soon as it is created");
            }
            Err(error) => {
                place.next = now + MISSING_PAUSE;
                return place.say(&format!("the function cannot be looked up: {}", error.message));
            }
        };
        let zip = match place.packed() {
            Ok(zip) => zip,
            Err(Unpacked::Changing) => {
                place.next = now + QUIET;
                return;
            }
            Err(Unpacked::Unusable(why)) => {
                place.pending = None;
                return place.say(&format!("this cannot be code: {why}. The old code serves on"));
            }
        };
        // From here on it is done with, until the next save.
        place.pending = None;
        let inspected = match environment::package::inspect(&zip) {
            Ok(inspected) => inspected,
            Err(error) => return place.say(&format!("this cannot be code: {error}. The old code serves on")),
        };
        if inspected.sha256_base64 == code.sha256 {
            return place.said.clear();
        }
        let check = place.check.take().unwrap_or_else(|| self.begin(&place.directory, &code));
        place.code = Some(code);
        if let Err(why) = check.end() {
            return place.say(&format!("{why}. The old code serves on"));
        }
        match self.control.update_code(&function, &zip) {
            Ok(()) => {
                place.said.clear();
                let milliseconds = u64::try_from(now.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(function = %place.function, milliseconds, bytes = zip.len(), "new code from the directory");
            }
            Err(why) => place.say(&format!("the code is refused: {why}. The old code serves on")),
        }
    }

    fn begin(&self, directory: &Path, code: &Code) -> Check {
        syntax::begin(&self.interpreters, directory, &code.runtime, &code.handler)
    }

    /// Which function a name means.
    fn resolve(&self, named: &Named) -> Result<FunctionKey, String> {
        let name = match named {
            Named::Whole(key) => return Ok(key.clone()),
            Named::Bare(name) => name,
        };
        let accounts =
            self.control.list_accounts().map_err(|error| format!("accounts cannot be read: {}", error.message))?;
        let account = match accounts.as_slice() {
            [only] => only.account_id.clone(),
            [] if self.development => DEVELOPMENT_ACCOUNT.to_owned(),
            [] => {
                return Err("there is no account yet; its function gets this code as soon as it is created".to_owned());
            }
            several => {
                return Err(format!(
                    "there are {} accounts, so the function must be named by its ARN: --watch \
                     arn:aws:lambda:{REGION}:ACCOUNT:function:{name}=DIR",
                    several.len()
                ));
            }
        };
        Ok(FunctionKey { account, region: REGION.to_owned(), name: name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_names_a_function_and_a_directory() {
        let bare = parse("authorizer=./a=b").unwrap();
        assert_eq!(bare, Watch { function: Named::Bare("authorizer".into()), directory: "./a=b".into() });
        let arn = "arn:aws:lambda:eu-west-1:222222222222:function:f";
        let whole = parse(&format!("{arn}=/src")).unwrap();
        assert_eq!(whole.function.to_string(), arn);
        for text in
            ["", "f", "f=", "=d", "a b=d", "arn:aws:lambda:r:1:function:f=d", "arn:aws:lambda:r:222222222222:layer:f=d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_directory_is_due_when_it_is_quiet_and_nothing_is_half_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place::new(Named::Bare("f".into()), dir.path().to_owned(), None);
        let start = Instant::now();
        place.tree = Some(Tree::watch(dir.path()).unwrap());
        place.next = start;
        place.pending = None;
        assert_eq!(place.due(), None);
        place.pending = Some((start, start));
        assert_eq!(place.due(), Some(start + QUIET));
        place.pending = Some((start, start + NOISE_MAX));
        assert_eq!(place.due(), Some(start + NOISE_MAX), "steady noise does not put it off for ever");
        let mut file = std::fs::File::create(dir.path().join("a")).unwrap();
        std::io::Write::write_all(&mut file, b"half").unwrap();
        place.tree.as_mut().unwrap().news(start).unwrap();
        assert_eq!(place.due(), Some(start + WRITING_MAX));
        drop(file);
        place.tree.as_mut().unwrap().news(start).unwrap();
        assert_eq!(place.due(), Some(start + NOISE_MAX));
    }
}
