//! Pages of files, which are what tables are asked for by.

use profiler_common::unwind::table::PAGE_BITS;

use super::Layout;
use crate::profile::ElfAddress;

/// A page of a file's addresses, counted from address 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressPage(pub u64);

impl AddressPage {
    /// The page that an address lies in.
    #[must_use]
    pub const fn of(address: ElfAddress) -> Self {
        Self(address.0 >> PAGE_BITS)
    }

    /// Its first address.
    #[must_use]
    pub const fn address(self) -> ElfAddress {
        ElfAddress(self.0 << PAGE_BITS)
    }

    /// Its number in a table that begins so and has so many pages.
    #[must_use]
    pub fn within(self, layout: Layout) -> Option<u32> {
        let page = self.0.checked_sub(layout.start.0 >> PAGE_BITS)?;
        u32::try_from(page).ok().filter(|page| *page < layout.pages)
    }
}
