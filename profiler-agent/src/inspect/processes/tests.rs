//! Looks that answer, hang and panic, without processes.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::profile::AttributeValue;

const IMAGE: BootTime = BootTime(5);

const fn at(milliseconds: u64) -> BootTime {
    BootTime(1_000_000_000_000 + milliseconds * 1_000_000)
}

fn nothing(look: Look) -> Seen {
    Seen {
        environment: None,
        address: look.address,
        read: look.read,
        context: Ok(None),
    }
}

fn named(name: &str) -> Option<environment::Environment> {
    let content = format!("OTEL_SERVICE_NAME={name}\0");
    Some(environment::parse(content.as_bytes()))
}

/// What looks so, and what says that an answer is there.
fn processes(
    look: impl Fn(Look, u32) -> Seen + Send + Sync + 'static,
) -> (ProcessLooks, Receiver<()>) {
    let (notify, notified) = channel();
    // Nobody takes it where a test leaves a look behind.
    let notify = move || {
        let _ = notify.send(());
    };
    (ProcessLooks::over(Arc::new(look), notify), notified)
}

fn ask(processes: &mut ProcessLooks, pid: u32, now: BootTime) {
    processes.sampled(pid, now);
    processes.ask(|_| Some(IMAGE), now);
}

fn names(said: &[Said]) -> Vec<(u32, String)> {
    let text = |said: &Said| match &said.environment.as_ref().unwrap()[0].value {
        AttributeValue::Text(name) => (said.pid, name.to_string()),
        other => panic!("{other:?}"),
    };
    said.iter().map(text).collect()
}

/// Looks at process 1 that say that they began, and hang until they are released.
fn hanging() -> (ProcessLooks, Receiver<()>, (Receiver<()>, Sender<()>)) {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (begins, began) = channel();
    let look = move |look: Look, pid| {
        if pid == 1 {
            begins.send(()).unwrap();
            let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        Seen {
            environment: named(&format!("shop-{pid}")),
            ..nothing(look)
        }
    };
    let (processes, notified) = processes(look);
    (processes, notified, (began, release))
}

#[test]
fn a_process_that_hangs_holds_up_nobody_and_its_late_answer_is_taken() {
    let (mut processes, notified, (began, release)) = hanging();
    ask(&mut processes, 1, at(0));
    began.recv().unwrap();
    ask(&mut processes, 2, at(10));
    // The only thread hangs: another one goes on.
    processes.ask(|_| Some(IMAGE), at(200));
    notified.recv().unwrap();
    assert_eq!(names(&processes.take(at(200))), [(2, "shop-2".to_owned())]);
    assert!(processes.take_losses().is_empty());
    // It is counted once, and not asked for again.
    for time in [1500, 2000, 9000] {
        ask(&mut processes, 1, at(time));
    }
    let losses = processes.take_losses();
    assert_eq!(losses.of(Degradation::FileUnanswered), 1);
    // The process may be gone by then.
    processes.prune(|_| None);
    release.send(()).unwrap();
    notified.recv().unwrap();
    assert_eq!(
        names(&processes.take(at(10_000))),
        [(1, "shop-1".to_owned())]
    );
    processes.prune(|_| None);
    assert!(processes.known.is_empty());
}

#[test]
fn the_end_of_a_window_waits_a_moment_for_first_looks() {
    let (mut processes, notified, (_began, release)) = hanging();
    ask(&mut processes, 1, at(100));
    assert!(processes.is_waited_for(at(100), at(150)));
    // Its samples are of a later window; it hangs.
    assert!(!processes.is_waited_for(at(99), at(150)));
    assert!(!processes.is_waited_for(at(100), at(350)));
    release.send(()).unwrap();
    notified.recv().unwrap();
    processes.take(at(200));
    // No look but the first is waited for.
    ask(&mut processes, 1, at(5000));
    assert!(processes.readers.is_asked(&(1, IMAGE)));
    assert!(!processes.is_waited_for(at(5000), at(5000)));
    release.send(()).unwrap();
}

#[test]
fn a_look_that_panics_is_counted_and_not_repeated_soon() {
    let (mut processes, notified) = processes(|_, _| panic!("as a test wants it"));
    ask(&mut processes, 1, at(0));
    notified.recv().unwrap();
    assert!(processes.take(at(0)).is_empty());
    let losses = processes.take_losses();
    assert_eq!(losses.of(Degradation::ProcessContextMalformed), 1);
    ask(&mut processes, 1, at(5000));
    assert!(!processes.readers.is_asked(&(1, IMAGE)));
}

#[test]
fn an_environment_is_read_once_and_searches_become_rare() {
    let (asked, looks) = sync_channel(100);
    let (mut processes, notified) = processes(move |look, _| {
        asked.send(look.environment).unwrap();
        Seen {
            environment: look.environment.then(|| named("shop")).flatten(),
            ..nothing(look)
        }
    });
    let mut now = at(0);
    for _ in 0..100 {
        ask(&mut processes, 1, now);
        if processes.readers.is_asked(&(1, IMAGE)) {
            notified.recv().unwrap();
            processes.take(now);
        }
        now = now.plus(Duration::from_millis(500));
    }
    // At 0 s, 0.5 s, 1.5 s, 3.5 s, 7.5 s, 15.5 s, 31.5 s.
    let looks: Vec<bool> = looks.try_iter().collect();
    assert_eq!(looks, [true, false, false, false, false, false, false]);
}
