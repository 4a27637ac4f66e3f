//! The steps of a run: lock, select, poll, record; and what happens around them.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use super::around::{self, Emitted, PostPoll};
use super::backlog::{Behind, Pace};
use super::clock::RunClock;
use super::coordinator::{Coordinator, Observer, TICK};
use super::event::Rules;
use super::message::Message;
use super::queue::{HostLimits, LookUp, Queue, SLOW};
use super::recorder::Recorder;
use super::run_lock::{self, RunLock};
use super::run_note::Note;
use super::selection::{self, Past, Selection};
use super::state::RunState;
use super::ticks::Stop;
use super::update::Warning;
use super::{Error, PollRun, Signals, Summary, Update, workers};
use crate::config::Config;
use crate::model::UnixTime;
use crate::site::Client;
use crate::store::error::{Error as StoreError, Problem};
use crate::store::{DueEntry, HostKey, PollTask, Store};
use crate::util::lock::{Backoff, FileLock};

/// What a run works with.
struct Context<'a> {
    store: &'a Store,
    client: &'a Arc<Client>,
    config: &'a Config,
    signals: &'a Signals,
    /// Started when the lock of the run was acquired.
    clock: RunClock,
    /// Becomes true once waits for the store are to end early.
    stop: Arc<AtomicBool>,
}

impl PollRun {
    /// Passes what would be polled to `emit`, and polls and writes nothing. Goes in short sessions, as a run does.
    ///
    /// # Errors
    /// Those of the store and of `emit`. It fails if the one requested connection cannot be polled.
    pub fn dry_run<E: From<Error> + From<StoreError>>(
        &self,
        store: &Store,
        emit: impl FnMut(PollTask) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_app_disabled() {
            return Ok(());
        }
        store.lock_shared(|| selection::list(self, store, emit))
    }

    /// Polls what is due and records the outcomes. `observe` receives reports meanwhile.
    ///
    /// # Errors
    /// [`Error::Declined`] if another run covers any of the batch; those of the store. It fails if the one requested
    /// connection cannot be polled, if a listener fails before or after the polls, or if its program cannot be used. The
    /// outcomes of polls that have ended are recorded in any case.
    pub fn run(
        &self,
        store: &Store,
        client: &Arc<Client>,
        config: &Config,
        signals: &Signals,
        observe: &mut dyn FnMut(Update<'_>),
    ) -> Result<Summary, Error> {
        if self.is_app_disabled() {
            return Ok(self.empty_summary());
        }
        match self.lock_and_run(store, client, config, signals, observe) {
            // A signal, or the maximum runtime, ended a wait before anything was polled.
            Err(Error::Store(StoreError::Cancelled)) => match signals.stop_code() {
                Some(exit_code) => Ok(Summary { interrupted: Some(exit_code), ..self.empty_summary() }),
                None => Err(Error::OutOfTime),
            },
            done => done,
        }
    }

    /// Whether it is certain that nothing is due. Does not open the database, and `false` is no answer.
    #[must_use]
    pub fn is_certainly_idle(&self, store: &Store) -> bool {
        self.only.is_none() && store.is_certainly_idle(&self.app.app_id, &self.job, &self.policy, self.now)
    }

    fn is_app_disabled(&self) -> bool {
        if self.app.disabled {
            info!("{} is disabled", self.app.app_id);
        }
        self.app.disabled
    }

    fn lock_and_run(
        &self,
        store: &Store,
        client: &Arc<Client>,
        config: &Config,
        signals: &Signals,
        observe: &mut dyn FnMut(Update<'_>),
    ) -> Result<Summary, Error> {
        let cancellable = store.clone().with_cancel(signals.stop_flag());
        let range = match selection::find_only(self, &cancellable)? {
            None => self.batch.range(),
            Some(key) => key.locator.batch_code..=key.locator.batch_code,
        };
        let run_lock =
            RunLock { directory: store.runs(), app_id: self.app.app_id.clone(), job: self.job.clone(), range };
        // A poll by hand waits for the run that covers its connection.
        let by_hand = self.only.is_some();
        let timeout = if by_hand { self.max_runtime.unwrap_or(Duration::MAX) } else { Duration::ZERO };
        let done = cancellable.lock_shared(|| {
            let mut backoff = Backoff::new(timeout).with_cancel(Some(signals.stop_flag()));
            let on_wait = || warn!("another run covers this connection: waiting for it");
            let mut held = run_lock.acquire(&mut backoff, on_wait).map_err(Error::Lock)?.ok_or_else(|| {
                if signals.stop_code().is_some() {
                    return Error::Store(StoreError::Cancelled);
                }
                let (app_id, job) = (self.app.app_id.clone(), self.job.clone());
                Error::Declined { app_id, job, range: run_lock.range.clone() }
            })?;
            let (clock, stop) = (RunClock::start(), Arc::new(AtomicBool::new(false)));
            self.run_locked(&Context { store, client, config, signals, clock, stop }, &mut held, observe)
        });
        run_lock::remove_leftovers(store);
        done
    }

    /// The run itself, with its lock held.
    fn run_locked(
        &self,
        context: &Context,
        held: &mut FileLock,
        observe: &mut dyn FnMut(Update<'_>),
    ) -> Result<Summary, Error> {
        let Context { store, signals, .. } = context;
        let mut note = Note::write(held, self.due_at());
        if self.is_certainly_idle(store) {
            note.set_behind(note.behind().caught_up());
            return Ok(self.empty_summary());
        }
        note.set_active(self);
        let tick_s = note.ticks().usual_s();
        let past = Past { tick_s, sites: note.sites().cloned() };
        thread::scope(|scope| {
            let (sender, messages) = channel();
            let limits = context.config.results;
            let recorder = Recorder::start(scope, self, store, &context.stop, limits, sender.clone())
                .map_err(|error| Error::NoThread(error.to_string()))?;
            recorder.select(past);
            let Some(selection) = self.await_selection(context, &messages)? else { return Ok(self.empty_summary()) };
            let Selection { job, host_key, due: entries, first, spread, sites, opening } = selection;
            let due = entries.len() as u64;
            let mut summary = self.empty_summary();
            summary.run.due = due;
            if due == 0 {
                return Ok(summary);
            }
            note.set_due(due, sites);
            if let Some(report) = self.stop_report(&note, &entries, spread.is_some(), tick_s) {
                observe(Update::Warning(report));
            }
            self.app.call_warnings().for_each(|warning| warn!("{warning}"));
            if around::emit(self, due, None, signals)? == Emitted::Killed {
                return Ok(Summary { interrupted: signals.stop_code(), ..summary });
            }
            let post_poll = PostPoll::new(self, due, signals);
            let (outage_since, outages) = (job.ongoing_outage(self.now), job.outages);
            let (pace, behind) = (self.pace(&note), note.behind());
            let rules = Rules { outages, pace, behind, ..self.rules(context.client, outage_since, host_key) };
            let mut state = RunState::new(rules, entries, first, opening, summary).with_spread(spread);
            let polled = self.poll(context, &mut state, &recorder, (sender, &messages), observe);
            note.set_behind(state.behind());
            let (mut summary, error) = state.into_result();
            let emitted = post_poll.emit(summary.to_json());
            if let Err(panic) = polled? {
                resume_unwind(panic);
            }
            observe(Update::Ended { summary: &summary });
            if let Some(error) = error {
                return Err(error);
            }
            if emitted? == Emitted::Killed {
                warn!("the listeners after the run were cut short");
                summary.interrupted = signals.stop_code();
            }
            Ok(summary)
        })
    }

    /// Waits for the recorder to select what is due, and makes it stop once the run is to end.
    fn await_selection(&self, context: &Context, messages: &Receiver<Message>) -> Result<Option<Selection>, Error> {
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::Selected(selected)) => return selected,
                Ok(Message::RecorderPanicked(message)) => {
                    return Err(StoreError::from(Problem::Panicked(message)).into());
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    // Nothing is polled yet, so a pause only takes no time of the run.
                    context.clock.observe();
                    let out_of_time = self.max_runtime.is_some_and(|limit| context.clock.ran() >= limit);
                    if out_of_time || context.signals.stop_code().is_some() {
                        context.stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(StoreError::Cancelled.into()),
            }
        }
    }

    /// The report on a time in which no run began.
    ///
    /// `None` if there was none, if it is a part of the schedule, or if no site became overdue by it.
    fn stop_report(&self, note: &Note<'_>, due: &[DueEntry], is_spread: bool, tick_s: i64) -> Option<Warning> {
        let (Stop { from, to }, is_usual) = note.stop()?;
        // New sites have no due time.
        let is_overdue = |entry: &DueEntry| entry.due > 0 && entry.due <= self.now.saturating_sub(tick_s);
        let spread = is_spread.then(|| self.policy.usual_period());
        let report = Warning::NoRun { from, to, due: due.len() as u64, spread };
        (!is_usual && due.iter().any(is_overdue)).then_some(report)
    }

    /// What decides whether the run keeps up; `None` if it does not poll all that is due.
    fn pace(&self, note: &Note<'_>) -> Option<Pace> {
        (self.only.is_none() && self.limit.is_none()).then(|| Pace {
            period: self.policy.usual_period(),
            max_runtime: self.max_runtime,
            threads: self.threads,
            gap_s: note.ticks().gap_s(),
            is_after_stop: note.stop().is_some(),
        })
    }

    fn rules(&self, client: &Client, outage_since: Option<UnixTime>, host_key: HostKey) -> Rules {
        Rules {
            policy: self.policy.clone(),
            now: self.now,
            by_hand: self.only.is_some(),
            max_runtime: self.max_runtime,
            slow: SLOW.min(client.timeout() / 2),
            outage_since,
            outages: Vec::new(),
            host_key,
            pace: None,
            behind: Behind::default(),
        }
    }

    /// Polls until the run has ended, the outcomes are recorded and the programs have ended.
    ///
    /// Returns the panic of `observe`, if it panicked.
    ///
    /// # Errors
    /// [`Error::NoThread`]. Then nothing was polled.
    fn poll(
        &self,
        context: &Context,
        state: &mut RunState,
        recorder: &Recorder,
        (sender, messages): (Sender<Message>, &Receiver<Message>),
        observe: &mut dyn FnMut(Update<'_>),
    ) -> Result<thread::Result<()>, Error> {
        let Context { client, config, signals, clock, stop, .. } = context;
        let due = usize::try_from(state.summary().run.due).unwrap_or(usize::MAX);
        let limits = HostLimits::new(self.per_host, &config.per_host, &config.limits);
        let names = Arc::clone(client);
        let look_up: LookUp = Box::new(move |cxn, on_answer| names.look_up(cxn, on_answer));
        let queue = Arc::new(Queue::new(0, self.now, limits, client.lookup_limit(), look_up));
        let shared = workers::Shared::new(self, &queue, client, config, clock.started());
        let workers = workers::start(shared, due, &sender)?;
        // The channel is to be disconnected once the recorder and all workers have ended.
        drop(sender);
        let mut observer = Observer::new(observe);
        observer.report(Update::Started { due });
        let mut coordinator = Coordinator {
            run: self,
            state,
            queue: &queue,
            workers,
            recorder,
            client,
            messages,
            signals,
            stop,
            clock,
            observer,
            stashed: VecDeque::new(),
        };
        Ok(coordinator.drive())
    }
}

#[cfg(test)]
mod tests;
