//! What the agent says of itself in one word, explained: each name in its metrics, in its profiles and in stacks has one
//! [`Explanation`], and `docs/glossary.md` is all of them.

/// A name, and what somebody who meets it wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The name in metrics, profiles and stacks; never changes, because dashboards and alert rules hold it.
    pub name: &'static str,
    /// What is counted, as a plural: `samples`.
    pub unit: &'static str,
    /// What happened, as it reads behind a number and the unit: `were dropped because ..`.
    pub what: &'static str,
    /// How that comes about, in sentences.
    pub cause: &'static str,
    /// What helps, as it reads behind a colon: `lower ..`.
    pub fix: &'static str,
}

impl Explanation {
    /// `1,017 samples were dropped because ..: lower ..`, with `count` as it is to be read.
    #[must_use]
    pub fn sentence(&self, count: &str) -> String {
        let Self {
            unit, what, fix, ..
        } = self;
        format!("{count} {unit} {what}: {fix}")
    }
}

/// Makes an enum of a table of explanations: a row has a variant, its name, its unit, what happened, its cause and its fix.
macro_rules! explained {
    (
        $(#[$documentation:meta])*
        $enum:ident {
            $($variant:ident $name:literal counts $unit:literal
                what $what:literal
                cause $cause:literal
                fix $fix:literal)*
        }
    ) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $enum {
            $(#[doc = concat!("`", $name, "`: ", $unit, " ", $what, ".")] $variant,)*
        }

        impl $enum {
            /// All of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What it means, where it comes from and what helps.
            #[must_use]
            pub const fn explanation(self) -> crate::profile::Explanation {
                match self {
                    $(Self::$variant => crate::profile::Explanation {
                        name: $name,
                        unit: $unit,
                        what: $what,
                        cause: $cause,
                        fix: $fix,
                    },)*
                }
            }

            /// Its name in metrics and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The one with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}
pub(super) use explained;
