use super::*;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

fn locks(dir: &Path, timeout: Duration) -> Locks {
    Locks::new(dir, timeout).with_owner("test")
}

#[test]
fn a_held_session_is_busy_with_its_owner_named() {
    let directory = tempfile::tempdir().unwrap();
    let held = locks(directory.path(), Duration::ZERO);
    held.lock_session(|| {
        let waited = Duration::from_millis(30);
        match locks(directory.path(), waited).lock_session(|| Ok::<_, Error>(())) {
            Err(Error::Busy { owner: Some(owner), waited: reported, .. }) => {
                assert!(owner.starts_with("`cxnpoll test` (process "), "{owner}");
                assert_eq!(reported, waited);
            }
            other => panic!("{other:?}"),
        }
        Ok::<_, Error>(())
    })
    .unwrap();
    held.lock_session(|| Ok::<_, Error>(())).unwrap();
}

#[test]
fn every_wait_ends_when_it_is_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let held = locks(directory.path(), Duration::ZERO);
    let waits: [fn(&Locks) -> Result<()>; 4] = [
        |locks| locks.lock_exclusive(|_| Ok(())),
        |locks| locks.lock_shared(|| Ok(())),
        |locks| locks.lock_session(|| Ok(())),
        |locks| locks.lock_results(|| Ok(())),
    ];
    for (number, wait) in waits.into_iter().enumerate() {
        let cancel = Arc::new(AtomicBool::new(false));
        let waiting = locks(directory.path(), Duration::from_secs(60)).with_cancel(Arc::clone(&cancel));
        let during = || {
            let began = Instant::now();
            thread::scope(|scope| {
                let ended = scope.spawn(|| wait(&waiting));
                thread::sleep(Duration::from_millis(20));
                cancel.store(true, Ordering::Relaxed);
                assert!(matches!(ended.join().unwrap(), Err(Error::Cancelled)), "{number}");
            });
            assert!(began.elapsed() < Duration::from_secs(10));
            Ok(())
        };
        match number {
            0 | 1 => held.lock_exclusive(|_| during()),
            2 => held.lock_session(during),
            _ => held.lock_results(during),
        }
        .unwrap();
    }
}

#[test]
fn exclusive_use_excludes_all_others_and_is_refused_while_the_store_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| locks(directory.path(), Duration::ZERO));
    one.lock_exclusive(|exclusive| {
        for result in [two.lock_shared(|| Ok(())), two.lock_exclusive(|_| Ok(()))] {
            match result {
                Err(Error::Busy { owner: Some(owner), .. }) => {
                    assert!(owner.starts_with("`cxnpoll test` (process "), "{owner}");
                }
                other => panic!("{other:?}"),
            }
        }
        exclusive.lock_shared(|| Ok::<_, Error>(()))
    })
    .unwrap();
    two.lock_shared(|| {
        two.lock_session(|| Ok::<_, Error>(()))?;
        match one.lock_exclusive(|_| Ok::<_, Error>(())) {
            Err(Error::InUse { last_session: Some(owner), .. }) => {
                assert!(owner.contains("`cxnpoll test`"), "{owner}");
            }
            other => panic!("{other:?}"),
        }
        one.lock_shared(|| Ok::<_, Error>(()))
    })
    .unwrap();
}

#[test]
fn a_process_that_waits_for_exclusive_use_comes_before_those_that_begin() {
    let directory = tempfile::tempdir().unwrap();
    let [waiting, other] = [(); 2].map(|()| locks(directory.path(), Duration::from_secs(60)));
    let [begun, at_once] = [(); 2].map(|()| locks(directory.path(), Duration::ZERO));
    let is_replaced = AtomicBool::new(false);
    thread::scope(|scope| {
        begun
            .lock_shared(|| {
                scope.spawn(|| {
                    let replace = |_| {
                        is_replaced.store(true, Ordering::Relaxed);
                        Ok::<_, Error>(())
                    };
                    waiting.lock_exclusive(replace).unwrap();
                });
                let began = Instant::now();
                while at_once.lock_shared(|| Ok::<_, Error>(())).is_ok() {
                    assert!(began.elapsed() < Duration::from_secs(20), "the other does not come first");
                    thread::sleep(Duration::from_millis(1));
                }
                scope.spawn(|| {
                    let replaced = other.lock_shared(|| Ok::<_, Error>(is_replaced.load(Ordering::Relaxed)));
                    assert!(replaced.unwrap());
                });
                thread::sleep(Duration::from_millis(50));
                // The process that holds the store goes on with it, whichever of its handles it uses.
                begun.clone().lock_shared(|| Ok::<_, Error>(()))?;
                assert!(!is_replaced.load(Ordering::Relaxed));
                Ok::<_, Error>(())
            })
            .unwrap();
    });
    assert!(is_replaced.into_inner());
}

#[test]
fn a_former_build_that_holds_the_store_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    // It acquires only this lock.
    let mut former = FileLock::open(&directory.path().join("use.lock")).unwrap();
    let waiting = locks(directory.path(), Duration::from_secs(60));
    for mode in [Mode::Shared, Mode::Exclusive] {
        assert!(former.try_acquire(mode).unwrap());
        thread::scope(|scope| {
            let done = scope.spawn(|| waiting.lock_exclusive(|_| Ok::<_, Error>(())));
            thread::sleep(Duration::from_millis(30));
            assert!(!done.is_finished(), "{mode:?}");
            former.release();
            done.join().unwrap().unwrap();
        });
    }
}
