//! A row of call frame information to a [`Rule`].

use gimli::{
    CfaRule, Encoding, FrameDescriptionEntry, Register, RegisterRule, UnwindExpression,
    UnwindSection, UnwindTableRow,
};
use profiler_common::layout::snapshot::GENERAL_REGISTERS;
use profiler_common::unwind::{Aarch64, Architecture, CfaKind, Rule, SavedKind, X86_64};

use super::elf::Machine;
use super::entries::Bytes;
use super::expression::{Form, recognise};
use super::statistics::Statistics;

/// Room of an evaluation: registers of a row (x86_64 has 17 that are saved, aarch64 67), and rows
/// that `DW_CFA_remember_state` keeps. More is undecodable.
#[derive(Debug)]
pub(super) struct Store;

impl gimli::UnwindContextStorage<usize> for Store {
    type Rules = [(Register, RegisterRule<usize>); 96];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// A row.
pub(super) type Row = UnwindTableRow<usize, Store>;

/// What converts rows: the machine's registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Converter {
    stack_pointer: u8,
    frame_pointer: u8,
    base_register: u8,
    link_register: bool,
}

/// Why a row is unsupported.
enum Unsupported {
    Cfa,
    Number,
    ReturnAddress,
    StackPointer,
}

/// What is the same for all rows of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a, S> {
    pub(super) section: &'a S,
    encoding: Encoding,
    return_address: Register,
    signal: bool,
}

impl<'a, S> Context<'a, S> {
    pub(super) fn new(section: &'a S, entry: &FrameDescriptionEntry<Bytes<'_>>) -> Self {
        Self {
            section,
            encoding: entry.cie().encoding(),
            return_address: entry.cie().return_address_register(),
            signal: entry.is_signal_trampoline(),
        }
    }

    fn form<'b>(&self, expression: UnwindExpression<usize>) -> Option<Form>
    where
        S: UnwindSection<Bytes<'b>>,
    {
        let expression = expression.get(self.section).ok()?;
        recognise(expression, self.encoding, self.return_address.0)
    }
}

fn number(value: i64) -> Result<i32, Unsupported> {
    i32::try_from(value).map_err(|_| Unsupported::Number)
}

impl Converter {
    pub(super) const fn new(machine: Machine) -> Self {
        const fn of<A: Architecture>() -> Converter {
            Converter {
                stack_pointer: A::STACK_POINTER,
                frame_pointer: A::FRAME_POINTER,
                base_register: A::BASE_REGISTER,
                link_register: A::LINK_REGISTER,
            }
        }
        match machine {
            Machine::X86_64 => of::<X86_64>(),
            Machine::Aarch64 => of::<Aarch64>(),
        }
    }

    /// The rule of `row`; what cannot be expressed is counted.
    pub(super) fn rule<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        row: &Row,
        context: &Context<'_, S>,
        statistics: &mut Statistics,
    ) -> Rule {
        match self.try_rule(row, context, statistics) {
            Ok(rule) => rule,
            Err(unsupported) => {
                *match unsupported {
                    Unsupported::Cfa => &mut statistics.unsupported_cfa,
                    Unsupported::Number => &mut statistics.unsupported_number,
                    Unsupported::ReturnAddress => &mut statistics.unsupported_return_address,
                    Unsupported::StackPointer => &mut statistics.unsupported_stack_pointer,
                } += 1;
                Rule::UNSUPPORTED
            }
        }
    }

    fn try_rule<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        row: &Row,
        context: &Context<'_, S>,
        statistics: &mut Statistics,
    ) -> Result<Rule, Unsupported> {
        let return_address = row.register(context.return_address);
        // Undefined: there is no caller (DWARF 5, section 6.4.4), whatever the CFA.
        if return_address == Some(RegisterRule::Undefined) {
            return Ok(Rule::END_OF_STACK);
        }
        let mut rule = self.canonical_frame_address(row, context)?;
        rule.signal = u8::from(context.signal);
        (rule.return_address, rule.return_address_offset) =
            self.return_address(return_address.as_ref(), context)?;
        self.check_stack_pointer(row, context, &rule)?;
        (rule.frame_pointer, rule.frame_pointer_offset) = self
            .saved(row, self.frame_pointer, context)
            .unwrap_or_else(|| {
                statistics.lost_frame_pointer += 1;
                (SavedKind::Undefined as u8, 0)
            });
        (rule.base_register, rule.base_register_offset) = self
            .saved(row, self.base_register, context)
            .unwrap_or_else(|| {
                statistics.lost_base_register += 1;
                (SavedKind::Undefined as u8, 0)
            });
        let known = [self.stack_pointer, self.frame_pointer, self.base_register];
        if !known.contains(&rule.cfa_register) {
            statistics.other_cfa_register += 1;
        }
        Ok(rule)
    }

    fn canonical_frame_address<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        row: &Row,
        context: &Context<'_, S>,
    ) -> Result<Rule, Unsupported> {
        let form = match *row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Form::Offset {
                register: register.0,
                offset,
            },
            CfaRule::Expression(expression) => context.form(expression).ok_or(Unsupported::Cfa)?,
        };
        let (kind, register, offset, addend) = match form {
            Form::Offset { register, offset } => (CfaKind::Register, register, offset, 0),
            Form::Dereference {
                register,
                offset,
                addend,
            } => (CfaKind::Dereference, register, offset, number(addend)?),
            Form::Plt {
                register,
                offset,
                threshold,
            } => {
                if register != u16::from(self.stack_pointer) || threshold > 15 {
                    return Err(Unsupported::Cfa);
                }
                (CfaKind::Plt, register, offset, threshold as i32)
            }
        };
        Ok(Rule {
            cfa_register: u8::try_from(register).map_err(|_| Unsupported::Number)?,
            cfa_offset: number(offset)?,
            cfa_addend: addend,
            ..Rule::of(kind)
        })
    }

    fn return_address<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        saved: Option<&RegisterRule<usize>>,
        context: &Context<'_, S>,
    ) -> Result<(u8, i32), Unsupported> {
        match saved {
            None | Some(RegisterRule::SameValue) if self.link_register => {
                Ok((SavedKind::Same as u8, 0))
            }
            Some(RegisterRule::Offset(offset)) => Ok((SavedKind::AtCfa as u8, number(*offset)?)),
            Some(RegisterRule::Register(register)) if register.0 < GENERAL_REGISTERS as u16 => {
                Ok((SavedKind::InRegister as u8, i32::from(register.0)))
            }
            Some(RegisterRule::Expression(expression)) => self
                .place(*expression, context)
                .filter(|(kind, _)| *kind == SavedKind::AtStackPointer as u8)
                .ok_or(Unsupported::ReturnAddress),
            _ => Err(Unsupported::ReturnAddress),
        }
    }

    /// The CFA is the caller's stack pointer, unless the row says otherwise.
    fn check_stack_pointer<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        row: &Row,
        context: &Context<'_, S>,
        rule: &Rule,
    ) -> Result<(), Unsupported> {
        match row.register(Register(u16::from(self.stack_pointer))) {
            None
            | Some(
                RegisterRule::SameValue | RegisterRule::Undefined | RegisterRule::ValOffset(0),
            ) => Ok(()),
            // Signal frames: the place that the CFA is read from.
            Some(RegisterRule::Expression(expression))
                if rule.cfa == CfaKind::Dereference as u8
                    && rule.cfa_addend == 0
                    && context.form(expression)
                        == Some(Form::Offset {
                            register: u16::from(rule.cfa_register),
                            offset: i64::from(rule.cfa_offset),
                        }) =>
            {
                Ok(())
            }
            Some(_) => Err(Unsupported::StackPointer),
        }
    }

    /// Where `register` was saved; `None` when no rule can say it.
    fn saved<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        row: &Row,
        register: u8,
        context: &Context<'_, S>,
    ) -> Option<(u8, i32)> {
        match row.register(Register(u16::from(register))) {
            None | Some(RegisterRule::SameValue) => Some((SavedKind::Same as u8, 0)),
            Some(RegisterRule::Undefined) => Some((SavedKind::Undefined as u8, 0)),
            Some(RegisterRule::Offset(offset)) => {
                Some((SavedKind::AtCfa as u8, i32::try_from(offset).ok()?))
            }
            Some(RegisterRule::Expression(expression)) => self.place(expression, context),
            Some(_) => None,
        }
    }

    /// A place in memory that an expression computes from a register of this frame.
    fn place<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        expression: UnwindExpression<usize>,
        context: &Context<'_, S>,
    ) -> Option<(u8, i32)> {
        let Form::Offset { register, offset } = context.form(expression)? else {
            return None;
        };
        let kind = if register == u16::from(self.stack_pointer) {
            SavedKind::AtStackPointer
        } else if register == u16::from(self.frame_pointer) {
            SavedKind::AtFramePointer
        } else {
            return None;
        };
        Some((kind as u8, i32::try_from(offset).ok()?))
    }
}
