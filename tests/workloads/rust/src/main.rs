//! A Rust program in release with inlined functions: main -> cycle -> burn_two_thirds / burn_one_third, each of
//! which inlines `Hash::absorb` -> `mix`.
//!
//! With an argument it also profiles itself by pprof-rs and writes to that file a line
//! `function samples` for each burner when it is stopped: where it is built with the feature `inside`.

#[cfg(feature = "inside")]
mod inside;

use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: i32) {
    STOPPED.store(true, Ordering::Relaxed);
}

#[repr(C)]
#[derive(Default)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    const THREAD_CPU_TIME: i32 = 3;
    let mut time = Timespec::default();
    // SAFETY: the time is written to a structure of its shape.
    let failed = unsafe { clock_gettime(THREAD_CPU_TIME, &mut time) };
    assert_eq!(failed, 0, "threads have a clock");
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

struct Hash(u64);

impl Hash {
    #[inline(always)]
    fn absorb(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }
}

#[inline(always)]
fn mix(value: u64) -> u64 {
    black_box(value.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ (value >> 29)
}

#[inline(never)]
fn burn_two_thirds(rounds: u64) -> u64 {
    let mut hash = Hash(1);
    for round in 0..rounds {
        hash.absorb(round);
    }
    hash.0
}

#[inline(never)]
fn burn_one_third(rounds: u64) -> u64 {
    let mut hash = Hash(3);
    for round in 0..rounds {
        hash.absorb(round);
    }
    hash.0
}

/// Fixed cycles beat with a sampling clock.
fn jittered(state: &mut u64, mean: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    mean / 2 + *state % mean
}

#[inline(never)]
fn cycle(state: &mut u64) -> [Duration; 2] {
    let start = cpu_time();
    black_box(burn_two_thirds(jittered(state, 4_000_000)));
    let middle = cpu_time();
    black_box(burn_one_third(jittered(state, 2_000_000)));
    [middle - start, cpu_time() - middle]
}

fn main() {
    #[cfg(feature = "inside")]
    let inside = inside::Inside::start();
    // SAFETY: the handler stores to an atomic and nothing else.
    unsafe { signal(15, stop) };
    println!("ready");
    std::io::stdout().flush().expect("standard output");
    let mut state = 0x2545_f491_4f6c_dd1d;
    let mut spent = [Duration::ZERO; 2];
    let deadline = Instant::now() + Duration::from_secs(120);
    while !STOPPED.load(Ordering::Relaxed) && Instant::now() < deadline {
        let cycle = cycle(&mut state);
        spent[0] += cycle[0];
        spent[1] += cycle[1];
    }
    let all = (spent[0] + spent[1]).as_secs_f64();
    println!("share burn_two_thirds {:.4}", spent[0].as_secs_f64() / all);
    println!("share burn_one_third {:.4}", spent[1].as_secs_f64() / all);
    #[cfg(feature = "inside")]
    if let Some(inside) = inside {
        inside.report();
    }
}
