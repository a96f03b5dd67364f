//! The DWARF expressions that compilers, linkers and C libraries put into call frame information,
//! recognised by form. Nothing is evaluated, so nothing can loop.

use gimli::{Encoding, Expression, Operation};

use super::entries::Bytes;

/// A recognised expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// register + offset.
    Offset { register: u16, offset: i64 },
    /// *(register + offset) + addend.
    Dereference {
        register: u16,
        offset: i64,
        addend: i64,
    },
    /// register + offset + (8 when pc & 15 >= threshold).
    Plt {
        register: u16,
        offset: i64,
        threshold: u64,
    },
}

/// Most operations of a form: that of procedure linkage tables has nine.
const MAX_OPERATIONS: usize = 12;

/// The form of `expression`; `None` for all others. `return_address` is the column of the
/// return address, which names the pc in expressions of procedure linkage tables.
pub(super) fn recognise(
    expression: Expression<Bytes<'_>>,
    encoding: Encoding,
    return_address: u16,
) -> Option<Form> {
    let mut operations = Operations {
        inner: expression.operations(encoding),
        left: MAX_OPERATIONS,
    };
    let (register, mut offset) = operations.register_offset()?;
    loop {
        match operations.next()? {
            None => return Some(Form::Offset { register, offset }),
            Some(Operation::PlusConstant { value }) => {
                offset = offset.checked_add(i64::try_from(value).ok()?)?;
            }
            Some(Operation::Deref {
                size: 8,
                space: false,
                ..
            }) => {
                let addend = operations.addend()?;
                return Some(Form::Dereference {
                    register,
                    offset,
                    addend,
                });
            }
            // `.cfi_escape` of GNU ld, gold and mold for lazy procedure linkage tables: an entry of
            // 16 bytes pushes its relocation's number with the instruction before `threshold`.
            Some(Operation::RegisterOffset {
                register: pc,
                offset: 0,
                ..
            }) if pc.0 == return_address => {
                operations.constant(15)?;
                matches!(operations.next()?, Some(Operation::And)).then_some(())?;
                let Some(Operation::UnsignedConstant { value: threshold }) = operations.next()?
                else {
                    return None;
                };
                matches!(operations.next()?, Some(Operation::Ge)).then_some(())?;
                operations.constant(3)?;
                matches!(operations.next()?, Some(Operation::Shl)).then_some(())?;
                matches!(operations.next()?, Some(Operation::Plus)).then_some(())?;
                return operations.next()?.is_none().then_some(Form::Plt {
                    register,
                    offset,
                    threshold,
                });
            }
            Some(_) => return None,
        }
    }
}

struct Operations<'a> {
    inner: gimli::OperationIter<Bytes<'a>>,
    left: usize,
}

impl<'a> Operations<'a> {
    /// The next operation, `Some(None)` at the end; `None` when there are too many or one is
    /// malformed.
    #[expect(
        clippy::option_option,
        reason = "the outer one is for `?` in a search for forms: malformed is `no form`"
    )]
    fn next(&mut self) -> Option<Option<Operation<Bytes<'a>>>> {
        self.left = self.left.checked_sub(1)?;
        self.inner.next().ok()
    }

    fn register_offset(&mut self) -> Option<(u16, i64)> {
        match self.next()?? {
            Operation::RegisterOffset {
                register, offset, ..
            } => Some((register.0, offset)),
            _ => None,
        }
    }

    fn constant(&mut self, wanted: u64) -> Option<()> {
        match self.next()?? {
            Operation::UnsignedConstant { value } if value == wanted => Some(()),
            _ => None,
        }
    }

    /// What is added up to the end.
    fn addend(&mut self) -> Option<i64> {
        let mut sum: i64 = 0;
        loop {
            let value = match self.next()? {
                None => return Some(sum),
                Some(Operation::PlusConstant { value }) => i64::try_from(value).ok()?,
                Some(operation) => {
                    let value = match operation {
                        Operation::UnsignedConstant { value } => i64::try_from(value).ok()?,
                        Operation::SignedConstant { value } => value,
                        _ => return None,
                    };
                    match self.next()?? {
                        Operation::Plus => value,
                        Operation::Minus => value.checked_neg()?,
                        _ => return None,
                    }
                }
            };
            sum = sum.checked_add(value)?;
        }
    }
}
