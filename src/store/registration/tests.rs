use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::store::ops::{CxnPatch, FieldPatch, RegistrationChange};

const NOW: UnixTime = 1_800_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

struct Scene {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        Store::create(&path, TIMEOUT).unwrap();
        Self { _dir: dir, path }
    }

    fn store(&self, timeout: Duration) -> Store {
        Store::open(&self.path, timeout).unwrap()
    }

    fn requests(&self) -> PathBuf {
        self.path.join("registration")
    }

    /// The names of the files in the directory of requests, without the lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.requests()).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != LOCK).collect()
    }

    fn wait_for_requests(&self, number: usize) {
        let began = Instant::now();
        while self.names().iter().filter(|name| name.ends_with(".request")).count() != number {
            assert!(began.elapsed() < TIMEOUT, "{:?}", self.names());
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn cxn_count(&self) -> u64 {
        let store = self.store(TIMEOUT);
        assert_eq!(store.check(false).unwrap().faults, 0);
        store.cxn_count(None).unwrap()
    }

    /// How many actions history has.
    fn actions(&self) -> usize {
        let mut actions = 0;
        let scan = |frame: crate::store::Frame| {
            actions += frame.entries.len();
            Ok::<_, Error>(())
        };
        self.store(TIMEOUT).history().scan(0, scan).unwrap();
        actions
    }
}

/// A registration of a connection with a secret, in a message of its own.
fn registration(number: u8, secret: u8) -> Registration {
    let patch = CxnPatch {
        secret: Secret::from_bytes([secret; 32]),
        perm: FieldPatch::Set(json!({"deep": [[[number]]]})),
        via_port: FieldPatch::Set("proxy.example:80".parse().unwrap()),
        ..CxnPatch::sample(number)
    };
    let change = RegistrationChange::Register { patch: Box::new(patch), hold: false, per_host: Some(1000) };
    let mut hmac = [number; 32];
    hmac[0] = secret;
    Registration { change, hmac, ttl: NOW + 7200, origin: "2001:db8::1".to_owned() }
}

#[test]
fn of_simultaneous_claims_of_one_connection_exactly_one_succeeds() {
    let (scene, barrier) = (Scene::new(), Barrier::new(16));
    let claim = |secret: u8| {
        let store = scene.store(TIMEOUT);
        barrier.wait();
        store.register(&registration(1, secret), NOW).unwrap()
    };
    let claim = &claim;
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|secret| scope.spawn(move || claim(secret))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let of = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    assert_eq!((of(RegistrationOutcome::Done), of(RegistrationOutcome::OtherSecret)), (1, 15));
    let winner = outcomes.iter().position(|outcome| *outcome == RegistrationOutcome::Done).unwrap();
    let secret = Secret::from_bytes([u8::try_from(winner).unwrap(); 32]);
    let sample = CxnPatch::sample(1);
    assert!(scene.store(TIMEOUT).is_registered(&sample.cxn_id, &secret, &sample.app_id).unwrap());
    assert_eq!((scene.cxn_count(), scene.actions(), scene.names()), (1, 1, Vec::<String>::new()));
}

#[test]
fn the_process_that_gets_the_session_applies_all_requests() {
    let scene = Scene::new();
    let store = scene.store(TIMEOUT);
    private_dir(&scene.requests()).unwrap();
    let publish = |registration: &Registration| OwnRequest::publish(&scene.requests(), registration, NOW).unwrap();
    let others = [registration(2, 7), registration(3, 7), registration(2, 8)].each_ref().map(publish);
    let registration = registration(1, 7);
    let own = publish(&registration);
    let request = Request { registration: &registration, number: own.number, now: NOW };
    let done = wait_or_lead(&store.sessions, &own, &request).map_err(|(error, _)| error).unwrap();
    let outcomes = others.each_ref().map(|other| other.answer().unwrap().outcome);
    let of = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    assert_eq!(done.outcome, RegistrationOutcome::Done);
    assert_eq!((of(RegistrationOutcome::Done), of(RegistrationOutcome::OtherSecret)), (2, 1));
    assert_eq!((scene.cxn_count(), scene.actions(), scene.names()), (3, 3, Vec::<String>::new()));
}

#[test]
fn requests_of_many_processes_are_all_done() {
    let scene = Scene::new();
    let register = |number| scene.store(TIMEOUT).register(&registration(number, 7), NOW).unwrap();
    let register = &register;
    thread::scope(|scope| {
        let began = scene.store(TIMEOUT).write(|_| {
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || register(number))).collect();
            scene.wait_for_requests(8);
            Ok(threads)
        });
        for thread in began.unwrap() {
            assert_eq!(thread.join().unwrap(), RegistrationOutcome::Done);
        }
    });
    assert_eq!((scene.cxn_count(), scene.actions(), scene.names()), (8, 8, Vec::<String>::new()));
}

#[test]
fn a_request_is_claimed_once_and_only_while_its_owner_lives() {
    let scene = Scene::new();
    let dir = scene.requests();
    private_dir(&dir).unwrap();
    let publish = |number| OwnRequest::publish(&dir, &registration(number, 7), NOW).unwrap();
    let [own, waiting, withdrawn, dead] = [1, 2, 3, 4].map(publish);
    assert!(withdrawn.withdraw() && !withdrawn.withdraw());
    // A process that is killed removes nothing.
    let name = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let name = name.into_iter().find(|path| path.file_stem().unwrap() == &*format!("{:016x}", dead.number)).unwrap();
    let bytes = fs::read(&name).unwrap();
    drop(dead);
    fs::write(&name, &bytes).unwrap();
    fs::write(name.with_extension("new"), &bytes[..9]).unwrap();
    // Of another version, and locked.
    let foreign = dir.join("foreign.request");
    fs::write(&foreign, &bytes[..9]).unwrap();
    let held = fs::File::open(&foreign).unwrap();
    held.try_lock().unwrap();

    let claimed = claim_all(&dir, &own);
    assert_eq!(claimed.len(), 1);
    assert_eq!(
        (claimed[0].number, &claimed[0].registration, claimed[0].now),
        (waiting.number, &registration(2, 7), NOW)
    );
    assert!(!waiting.withdraw() && claim_all(&dir, &own).is_empty());
    let mut names = scene.names();
    names.sort();
    assert_eq!(names, [format!("{:016x}.request", own.number), "foreign.request".to_owned()]);
    for outcome in [
        RegistrationOutcome::Done,
        RegistrationOutcome::Repeated,
        RegistrationOutcome::OtherSecret,
        RegistrationOutcome::OtherApp,
        RegistrationOutcome::HostFull,
    ] {
        let answer = Registered { outcome, is_removed: outcome == RegistrationOutcome::Done };
        claimed[0].answer(answer);
        assert_eq!(waiting.answer(), Some(answer));
    }
    assert_eq!(own.answer(), None);
}

#[test]
fn a_wait_that_is_over_takes_the_request_back() {
    let scene = Scene::new();
    let busy = scene.store(TIMEOUT).write(|_| {
        let result = scene.store(Duration::from_millis(30)).register(&registration(1, 7), NOW);
        assert_eq!(scene.names(), Vec::<String>::new());
        Ok(result)
    });
    assert!(matches!(busy.unwrap(), Err(Error::Busy { .. })));
    let dir = fs::metadata(scene.store(TIMEOUT).registration_dir().unwrap()).unwrap();
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    scene.store(TIMEOUT).register(&registration(2, 7), NOW).unwrap();
    assert_eq!(scene.cxn_count(), 1);
}

/// What another process with the session does to a request whose owner's wait ends meanwhile.
fn claimed_while_waiting(
    with_claimed: impl FnOnce(&WriteSession, Vec<Claimed>) + Send,
) -> (Scene, RegistrationOutcome) {
    let scene = Scene::new();
    private_dir(&scene.requests()).unwrap();
    let outcome = thread::scope(|scope| {
        let owner = scene.store(TIMEOUT).write(|session| {
            let scene = &scene;
            let other = OwnRequest::publish(&scene.requests(), &registration(9, 7), NOW)?;
            let owner = scope.spawn(|| scene.store(Duration::from_secs(1)).register(&registration(1, 7), NOW).unwrap());
            scene.wait_for_requests(2);
            let claimed = claim_all(&scene.requests(), &other);
            assert_eq!(claimed.len(), 1);
            thread::sleep(Duration::from_millis(1100));
            assert!(!owner.is_finished(), "its request is claimed");
            with_claimed(session, claimed);
            Ok(owner)
        });
        owner.unwrap().join().unwrap()
    });
    (scene, outcome)
}

#[test]
fn a_claimed_request_is_waited_for() {
    let refused = Registered { outcome: RegistrationOutcome::OtherApp, is_removed: false };
    let (scene, outcome) = claimed_while_waiting(|_, claimed| claimed[0].answer(refused));
    assert_eq!((outcome, scene.cxn_count()), (RegistrationOutcome::OtherApp, 0));
}

#[test]
fn a_request_that_was_claimed_and_not_applied_is_applied_by_its_owner() {
    let (scene, outcome) = claimed_while_waiting(|_, claimed| drop(claimed));
    assert_eq!((outcome, scene.cxn_count(), scene.actions()), (RegistrationOutcome::Done, 1, 1));
}

#[test]
fn a_request_that_was_applied_and_not_answered_is_done() {
    let (scene, outcome) = claimed_while_waiting(|session, claimed| {
        let Claimed { registration, number, now, .. } = &claimed[0];
        let request = Request { registration, number: *number, now: *now };
        let history = History::new(session_history(session));
        assert!(session.register(&history, &[request], NOW).unwrap().remove(0).is_ok());
    });
    assert_eq!((outcome, scene.cxn_count()), (RegistrationOutcome::Done, 1));
    // The same message in another request is a repetition.
    let again = scene.store(TIMEOUT).register(&registration(1, 7), NOW).unwrap();
    assert_eq!((again, scene.cxn_count()), (RegistrationOutcome::Repeated, 1));
}

/// A directory for the history of a process that is killed.
fn session_history(_: &WriteSession) -> PathBuf {
    tempfile::tempdir().unwrap().keep()
}

proptest! {
    #[test]
    fn any_bytes_are_no_request_and_no_panic(bytes: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("any.request");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            request::read(fs::File::open(&path).unwrap()).is_some()
        };
        prop_assert!(!read(&bytes));
        let own = OwnRequest::publish(dir.path(), &registration(1, 7), NOW).unwrap();
        let mut whole = fs::read(dir.path().join(format!("{:016x}.request", own.number))).unwrap();
        prop_assert!(read(&whole));
        let at = at.index(whole.len());
        whole[at] ^= 1 << bit;
        prop_assert!(!read(&whole), "{at}");
    }
}
