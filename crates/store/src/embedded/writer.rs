//! The one thread that writes. Commits that arrive while it syncs wait in its queue and share the next sync.

use std::slice;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::{Commit, Error, Event, queue::Change};

use super::{event, object, queue};

/// Commits waiting; the next caller waits for a place.
const QUEUE_MAX: usize = 1024;
/// Commits that share one transaction, and about how many bytes of documents and records: bounds how long the first
/// of them waits for the last.
const GROUP_MAX: usize = 256;
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Events one pruning step forgets, for the same reason.
const PRUNE_STEP: usize = 200;

pub(super) enum Work {
    Commit(Commit),
    Events(Vec<Event>),
    Queue(Change),
    /// One step of forgetting events older than `before_ms` of an account and region.
    Prune {
        partition: (String, String),
        before_ms: i64,
    },
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(commit) => commit.bytes(),
            Self::Events(events) => events.iter().map(|event| event.record.len()).sum(),
            Self::Queue(change) => change.bytes(),
            Self::Prune { .. } => 0,
        }
    }
}

/// The revision of a commit; how many events a pruning step forgot.
type Answer = Result<u64, Error>;

struct Job {
    work: Work,
    answer: SyncSender<Answer>,
}

pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

fn stopped() -> Error {
    Error::Io(std::io::Error::other("the writing thread has stopped"))
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            while let Some(group) = next_group(&queue) {
                settle(&mut connection, group);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Waits until the work is on disk, or refused.
    pub(super) fn submit(&self, work: Work) -> Answer {
        let (answer, answered) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Job { work, answer }).map_err(|_| stopped())?;
        answered.recv().map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was already answered to those who waited; here is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// The first job waited for, and whatever stands behind it already.
fn next_group(queue: &Receiver<Job>) -> Option<Vec<Job>> {
    let first = queue.recv().ok()?;
    let mut bytes = first.work.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(job) = queue.try_recv() else { break };
        bytes = bytes.saturating_add(job.work.bytes());
        group.push(job);
    }
    Some(group)
}

fn settle(connection: &mut Connection, mut group: Vec<Job>) {
    match (attempt(connection, &group), group.len()) {
        (Ok(answers), _) => group.into_iter().zip(answers).for_each(|(job, answer)| reply(job, answer)),
        (Err(error), 1) => {
            if let Some(job) = group.pop() {
                reply(job, Err(error));
            }
        }
        (Err(error), jobs) => {
            // One job too big for the disk must not fail its neighbours: nothing of the group was kept, so each is
            // tried alone and gets its own answer.
            tracing::warn!(jobs, %error, "a shared commit failed; trying its parts one by one");
            for job in group {
                let answers = attempt(connection, slice::from_ref(&job));
                reply(job, answers.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(stopped()))));
            }
        }
    }
}

fn reply(job: Job, answer: Answer) {
    // Whoever asked may have gone; what was done stays done.
    let _ = job.answer.send(answer);
}

/// Does the whole group in one transaction. An error means that nothing of it happened.
fn attempt(connection: &mut Connection, group: &[Job]) -> Result<Vec<Answer>, Error> {
    if !connection.is_autocommit() {
        // A roll-back failed earlier: begin where it should have ended.
        connection.execute_batch("ROLLBACK")?;
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let answers = write_group(connection, group).and_then(|answers| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(answers)
    });
    if answers.is_err() && !connection.is_autocommit() {
        // SQLite ends the transaction itself after some errors, not after all. The first error is the one to tell.
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            tracing::error!(%error, "a failed commit could not be rolled back yet");
        }
    }
    answers
}

fn write_group(connection: &Connection, group: &[Job]) -> Result<Vec<Answer>, Error> {
    let before = object::rev(connection)?;
    let mut rev = before;
    let mut answers = Vec::with_capacity(group.len());
    for job in group {
        answers.push(match &job.work {
            // INVARIANT: checks do not write, so a commit refused by one leaves nothing to undo and its neighbours need
            // no savepoint between them. Every later failure ends the group.
            Work::Commit(commit) if !all_hold(connection, commit)? => Err(Error::Conflict),
            Work::Commit(commit) => {
                rev += 1;
                write(connection, commit, rev)?;
                Ok(rev)
            }
            Work::Events(events) => {
                events.iter().try_for_each(|event| event::append(connection, event))?;
                Ok(rev)
            }
            // INVARIANT: the same holds of a change that does not fit.
            Work::Queue(change) if !queue::fits(connection, change)? => Err(Error::Crowded),
            Work::Queue(change) => {
                queue::write(connection, change)?;
                Ok(rev)
            }
            Work::Prune { partition, before_ms } => Ok(event::prune(connection, partition, *before_ms, PRUNE_STEP)?),
        });
    }
    if rev != before {
        object::set_rev(connection, rev)?;
    }
    Ok(answers)
}

fn all_hold(connection: &Connection, commit: &Commit) -> Result<bool, Error> {
    for check in &commit.checks {
        if !object::holds(connection, check)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(connection: &Connection, commit: &Commit, rev: u64) -> Result<(), Error> {
    commit.delete_ranges.iter().try_for_each(|range| object::delete_range(connection, range))?;
    commit.deletes.iter().try_for_each(|key| object::delete(connection, key))?;
    commit.puts.iter().try_for_each(|(key, document)| object::put(connection, key, rev, document))?;
    commit.events.iter().try_for_each(|event| event::append(connection, event))
}
