//! From a thread to its goroutine, over memory that is a map.

use std::collections::HashMap;

use profiler_common::layout::{GoRuntime, RuntimeEntry, ThreadLocal};
use profiler_common::unwind::{AddressMask, Goroutine, Memory};
use proptest::prelude::*;

const THREAD: u64 = 0x7000;
const G0: u64 = 0x1000;
const G: u64 = 0x2000;
const M: u64 = 0x3000;

struct Words(HashMap<u64, u64>);

impl Memory for Words {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        (number == 28).then_some(G0)
    }
}

fn entry(g: ThreadLocal) -> RuntimeEntry {
    RuntimeEntry {
        go: GoRuntime {
            g,
            g_m: 48,
            m_curg: 184,
            ..GoRuntime::default()
        },
        vector_stride: 16,
        vector_offset: 8,
        ..RuntimeEntry::default()
    }
}

const fn variable(kind: u32, offset: i64, module: u64) -> ThreadLocal {
    ThreadLocal {
        kind,
        reserved: 0,
        offset,
        module,
    }
}

/// A thread on its scheduler's stack that works for a goroutine.
fn memory() -> Words {
    Words(HashMap::from([
        (THREAD - 8, G0),
        (G0 + 48, M),
        (M + 184, G),
        (G + 48, M),
        // The same variable through a global offset table, and through a vector of blocks.
        (0x9000, -8i64 as u64),
        (THREAD + 8, 0xa000),
        (0xa000 + 3 * 16, THREAD - 32),
    ]))
}

#[test]
fn the_user_goroutine_is_found_by_every_model_of_thread_local_storage() {
    for variable in [
        variable(ThreadLocal::STATIC, -8, 0),
        variable(ThreadLocal::INDIRECT, 0x9000, 0),
        variable(ThreadLocal::DYNAMIC, 24, 3),
        variable(ThreadLocal::REGISTER, 28, 0),
    ] {
        let found = Goroutine::find(&entry(variable), THREAD, &mut memory());
        assert_eq!((found.machine, found.user), (M, G), "{variable:?}");
    }
}

#[test]
fn a_thread_without_the_variable_has_no_goroutine() {
    let absent = ThreadLocal::default();
    let unallocated = variable(ThreadLocal::DYNAMIC, 24, 4);
    for (variable, pointer) in [
        (absent, THREAD),
        (unallocated, THREAD),
        (variable(ThreadLocal::STATIC, -8, 0), 0),
    ] {
        let found = Goroutine::find(&entry(variable), pointer, &mut memory());
        assert_eq!(found, Goroutine::default());
    }
}

#[test]
fn a_goroutine_that_another_thread_runs_is_not_believed() {
    let mut memory = memory();
    memory.0.insert(G + 48, M + 0x100);
    let go = entry(variable(ThreadLocal::STATIC, -8, 0));
    let found = Goroutine::find(&go, THREAD, &mut memory);
    assert_eq!((found.machine, found.user, found.inconsistent), (0, 0, 1));
}

#[test]
fn a_goroutine_that_is_just_being_left_is_none() {
    let mut memory = memory();
    memory.0.insert(G + 48, 0);
    let go = entry(variable(ThreadLocal::STATIC, -8, 0));
    let found = Goroutine::find(&go, THREAD, &mut memory);
    assert_eq!((found.machine, found.user, found.inconsistent), (M, 0, 0));
}

#[test]
fn a_scheduler_without_a_goroutine_is_known() {
    let mut memory = memory();
    memory.0.insert(M + 184, 0);
    let go = entry(variable(ThreadLocal::STATIC, -8, 0));
    let found = Goroutine::find(&go, THREAD, &mut memory);
    assert_eq!((found.machine, found.user, found.inconsistent), (M, 0, 0));
}

proptest! {
    #[test]
    fn any_memory_is_followed_without_panic(
        words in prop::collection::hash_map(0u64..64, any::<u64>(), 0..64),
        kind in 0u32..6, offset in any::<i64>(), module in any::<u64>(), thread in any::<u64>(),
        fields in any::<(u16, u16, u32, i32)>(),
    ) {
        let mut entry = entry(variable(kind, offset, module));
        (entry.go.g_m, entry.go.m_curg, entry.vector_stride, entry.vector_offset) = fields;
        struct Hashed(HashMap<u64, u64>);
        impl Memory for Hashed {
            fn address_mask(&self) -> AddressMask {
                AddressMask::X86_64
            }
            fn read_word(&mut self, address: u64) -> Option<u64> {
                self.0.get(&(address % 64)).copied()
            }
            fn interrupted_register(&mut self, number: u8) -> Option<u64> {
                self.0.get(&u64::from(number)).copied()
            }
        }
        let found = Goroutine::find(&entry, thread, &mut Hashed(words));
        prop_assert!(found.inconsistent == 0 || found.user == 0);
    }
}
