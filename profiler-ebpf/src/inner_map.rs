//! Maps inside maps, defined without types for key and value.
//!
//! Whether an inner map has type information counts on some kernels (before `struct btf_record`
//! replaced `timer_off` in `bpf_map_meta_equal`): one with it never takes the place of one without. The agent
//! creates inner maps without, so their template must have none either.

use core::ffi::c_void;
use core::ptr::NonNull;

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS;
use aya_ebpf::helpers::bpf_map_lookup_elem;

/// The definition of a map by the sizes of its keys and values. Only the loader reads it.
#[repr(C)]
pub struct Untyped<
    const TYPE: usize,
    const KEY_BYTES: usize,
    const VALUE_BYTES: usize,
    const ENTRIES: usize,
    const FLAGS: usize,
> {
    r#type: *const [i32; TYPE],
    key_size: *const [i32; KEY_BYTES],
    value_size: *const [i32; VALUE_BYTES],
    max_entries: *const [i32; ENTRIES],
    map_flags: *const [i32; FLAGS],
}

/// An array of maps that are like `Inner`.
#[repr(C)]
pub struct ArrayOf<Inner, const ENTRIES: usize> {
    r#type: *const [i32; BPF_MAP_TYPE_ARRAY_OF_MAPS as usize],
    key: *const u32,
    value: *const u32,
    max_entries: *const [i32; ENTRIES],
    map_flags: *const [i32; 0],
    values: [*const Inner; 0],
}

// SAFETY: the fields are placeholders, which nobody reads: the kernel keeps the map.
unsafe impl<Inner, const ENTRIES: usize> Sync for ArrayOf<Inner, ENTRIES> {}

impl<Inner, const ENTRIES: usize> ArrayOf<Inner, ENTRIES> {
    /// The definition, for a static in the section of maps.
    pub const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
            values: [],
        }
    }

    /// The map at `index`.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<InnerMap> {
        // SAFETY: the loader replaces the address of the static by the map.
        let map = unsafe { lookup(core::ptr::from_ref(self).cast(), &index) };
        map.map(InnerMap)
    }
}

/// A map that was found in another one.
#[derive(Clone, Copy)]
pub struct InnerMap(NonNull<c_void>);

impl InnerMap {
    /// The value of `key`.
    ///
    /// # Safety
    /// Keys and values of the map are of these types.
    #[inline(always)]
    pub unsafe fn value<K, V>(self, key: &K) -> Option<NonNull<V>> {
        // SAFETY: the map comes from a look-up; the caller answers for the types.
        let value = unsafe { lookup(self.0.as_ptr(), key) };
        value.map(NonNull::cast)
    }
}

/// What `map` has for `key`.
///
/// # Safety
/// `map` is a map whose keys are of this type.
#[inline(always)]
unsafe fn lookup<K>(map: *const c_void, key: &K) -> Option<NonNull<c_void>> {
    // SAFETY: the caller answers for the map and the type of its key.
    let value =
        unsafe { bpf_map_lookup_elem(map.cast_mut(), core::ptr::from_ref(key).cast::<c_void>()) };
    NonNull::new(value)
}
