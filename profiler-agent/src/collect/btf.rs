//! Offsets of fields in the running kernel's structures, from its type information
//! (`Documentation/bpf/btf.rst`). Pure: bytes in, offsets out.

/// The type information is not what it should be, or lacks what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or cut short.
    #[error("the kernel's type information is malformed")]
    Malformed,
    /// There is no such field.
    #[error("the kernel's type information has no {structure}.{field}")]
    Missing {
        /// The structure.
        structure: String,
        /// The field.
        field: String,
    },
}

const MAGIC: u16 = 0xeb9f;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNCTION: u32 = 12;
const KIND_VARIABLE: u32 = 14;
/// Nested anonymous structures deeper than this do not occur.
const MAX_NESTING: u32 = 8;

/// Type information of a kernel.
pub struct KernelTypes<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Position of each type; type ids start at 1.
    positions: Vec<u32>,
}

struct Type {
    name: u32,
    kind: u32,
    members: u32,
    bit_fields: bool,
}

impl<'a> KernelTypes<'a> {
    /// Indexes the types in `btf`, the content of `/sys/kernel/btf/vmlinux`.
    pub fn parse(btf: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at: usize| word(btf, at).ok_or(BtfError::Malformed);
        if word(0)? & 0xffff != u32::from(MAGIC) {
            return Err(BtfError::Malformed);
        }
        let header = word(4)? as usize;
        let part = |offset: u32, length: u32| {
            let start = header.checked_add(offset as usize)?;
            btf.get(start..start.checked_add(length as usize)?)
        };
        let types = part(word(8)?, word(12)?).ok_or(BtfError::Malformed)?;
        let strings = part(word(16)?, word(20)?).ok_or(BtfError::Malformed)?;
        let mut found = Self {
            types,
            strings,
            positions: Vec::with_capacity(types.len() / 24),
        };
        let mut position = 0;
        while position < types.len() {
            let kind = found.type_at(position).ok_or(BtfError::Malformed)?;
            found.positions.push(position as u32);
            let extra = extra_bytes(&kind).ok_or(BtfError::Malformed)?;
            position += 12 + extra;
        }
        Ok(found)
    }

    /// Byte offset of `field` in `structure`, in nested anonymous structures too.
    pub fn offset(&self, structure: &str, field: &str) -> Result<u32, BtfError> {
        self.positions
            .iter()
            .filter_map(|position| Some((*position as usize, self.type_at(*position as usize)?)))
            .filter(|(_, found)| found.kind == KIND_STRUCT && self.name_is(found.name, structure))
            .find_map(|(position, found)| self.member(position, &found, field, MAX_NESTING))
            .map(|(bits, _)| bits / 8)
            .ok_or_else(|| BtfError::Missing {
                structure: structure.to_owned(),
                field: field.to_owned(),
            })
    }

    /// Is there a function of this name?
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        let types = self.positions.iter();
        types
            .filter_map(|position| self.type_at(*position as usize))
            .any(|found| found.kind == KIND_FUNCTION && self.name_is(found.name, name))
    }

    /// Where in `btf` the length of the array is that `field` of the structure that the variable `name` has points to: so
    /// objects define maps (`__uint` of libbpf).
    #[must_use]
    pub fn map_attribute(btf: &'a [u8], name: &str, field: &str) -> Option<usize> {
        let found = Self::parse(btf).ok()?;
        let positions = found.positions.iter().map(|position| *position as usize);
        let follow = |position: usize| found.position_of(word(found.types, position + 8)?);
        let variable = positions
            .filter_map(|position| Some((position, found.type_at(position)?)))
            .find(|(_, kind)| kind.kind == KIND_VARIABLE && found.name_is(kind.name, name))?;
        let definition = follow(variable.0)?;
        let (_, pointer) =
            found.member(definition, &found.type_at(definition)?, field, MAX_NESTING)?;
        let array = follow(found.position_of(pointer)?)?;
        (found.type_at(array)?.kind == KIND_ARRAY).then_some(())?;
        let types = word(btf, 4)? as usize + word(btf, 8)? as usize;
        // A type's 12 bytes, then the types of elements and of indices.
        Some(types + array + 12 + 8)
    }

    /// Byte offset of a field of a field, and so on: `path` from `structure` on.
    pub fn offset_of_path(&self, structure: &str, path: &[&str]) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing {
            structure: structure.to_owned(),
            field: path.join("."),
        };
        let candidates = self.positions.iter().map(|position| *position as usize);
        candidates
            .filter(|position| {
                self.type_at(*position).is_some_and(|found| {
                    found.kind == KIND_STRUCT && self.name_is(found.name, structure)
                })
            })
            .find_map(|position| self.bits_of_path(position, path))
            .map(|bits| bits / 8)
            .ok_or_else(missing)
    }

    fn bits_of_path(&self, mut position: usize, path: &[&str]) -> Option<u32> {
        let mut bits = 0u32;
        for field in path {
            position = self.unqualified(position)?;
            let found = self.type_at(position)?;
            let (offset, id) = self.member(position, &found, field, MAX_NESTING)?;
            bits = bits.checked_add(offset)?;
            position = self.position_of(id)?;
        }
        Some(bits)
    }

    /// The type behind type definitions and qualifiers.
    fn unqualified(&self, mut position: usize) -> Option<usize> {
        for _ in 0..MAX_NESTING {
            if !matches!(self.type_at(position)?.kind, 8..=11) {
                return Some(position);
            }
            position = self.position_of(word(self.types, position + 8)?)?;
        }
        None
    }

    fn position_of(&self, id: u32) -> Option<usize> {
        let index = (id as usize).checked_sub(1)?;
        Some(*self.positions.get(index)? as usize)
    }

    /// Bit offset of `field` in the structure at `position`, and its type.
    fn member(
        &self,
        position: usize,
        structure: &Type,
        field: &str,
        nesting: u32,
    ) -> Option<(u32, u32)> {
        for index in 0..structure.members as usize {
            let at = position + 12 + 12 * index;
            let name = word(self.types, at)?;
            let offset = word(self.types, at + 8)?;
            let bits = if structure.bit_fields {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            let id = word(self.types, at + 4)?;
            if self.name_is(name, field) {
                return Some((bits, id));
            }
            if name == 0 && nesting > 0 {
                let inner = self.position_of(id)?;
                let kind = self.type_at(inner)?;
                if matches!(kind.kind, KIND_STRUCT | KIND_UNION)
                    && let Some((within, id)) = self.member(inner, &kind, field, nesting - 1)
                {
                    return Some((bits.checked_add(within)?, id));
                }
            }
        }
        None
    }

    fn type_at(&self, position: usize) -> Option<Type> {
        let info = word(self.types, position.checked_add(4)?)?;
        Some(Type {
            name: word(self.types, position)?,
            kind: (info >> 24) & 0x1f,
            members: info & 0xffff,
            bit_fields: info >> 31 == 1,
        })
    }

    fn name_is(&self, offset: u32, name: &str) -> bool {
        let Some(rest) = self.strings.get(offset as usize..) else {
            return false;
        };
        rest.strip_prefix(name.as_bytes())
            .is_some_and(|after| after.first() == Some(&0))
    }
}

/// Bytes that follow a type's 12: by its kind and number of members.
fn extra_bytes(found: &Type) -> Option<usize> {
    let members = found.members as usize;
    Some(match found.kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * members,
        6 | 13 => 8 * members,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Bytes<'a>(&'a [u8]);

    impl btfparse::Readable for Bytes<'_> {
        fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
            let start = offset as usize;
            buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
            Ok(())
        }
    }

    #[test]
    fn offsets_of_the_running_kernel_equal_those_of_an_independent_reader() {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let types = KernelTypes::parse(&bytes).unwrap();
        let oracle = btfparse::TypeInformation::new(&Bytes(&bytes))
            .expect("the independent reader reads this kernel");
        let task = oracle.id_of("task_struct").unwrap();
        for field in ["flags", "tgid", "pid", "comm", "mm", "self_exec_id"] {
            let expected = match oracle.offset_of(task, field).unwrap().1 {
                btfparse::Offset::ByteOffset(bytes) => bytes,
                btfparse::Offset::BitOffsetAndSize(bits, _) => bits / 8,
            };
            assert_eq!(
                types.offset("task_struct", field).unwrap(),
                expected,
                "{field}"
            );
        }
    }

    #[test]
    fn a_field_of_a_field_lies_behind_it() {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let types = KernelTypes::parse(&bytes).unwrap();
        let direct = types.offset("task_struct", "tgid").unwrap();
        let path = types.offset_of_path("task_struct", &["tgid"]).unwrap();
        assert_eq!(path, direct);
        let outer = types.offset("task_struct", "se").unwrap();
        let load = types.offset("sched_entity", "load").unwrap();
        let inner = types.offset("load_weight", "inv_weight").unwrap();
        assert_eq!(
            types
                .offset_of_path("task_struct", &["se", "load", "inv_weight"])
                .unwrap(),
            outer + load + inner
        );
        let missing = types.offset_of_path("task_struct", &["se", "none"]);
        assert!(missing.unwrap_err().to_string().contains("se.none"));
    }

    #[test]
    fn a_missing_field_is_named() {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let types = KernelTypes::parse(&bytes).unwrap();
        let error = types.offset("task_struct", "no_such_field").unwrap_err();
        assert!(error.to_string().contains("task_struct.no_such_field"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if bytes.len() > 24 {
                bytes[..2].copy_from_slice(&MAGIC.to_ne_bytes());
                bytes[4..8].copy_from_slice(&24u32.to_ne_bytes());
            }
            let _ = KernelTypes::map_attribute(&bytes, "TASK_STAYS", "type");
            if let Ok(types) = KernelTypes::parse(&bytes) {
                let _ = types.offset("task_struct", "flags");
                let _ = types.offset_of_path("task_struct", &["thread", "fsbase"]);
                let _ = types.has_function("schedule");
            }
        }
    }
}
