//! What is to be found out about files: what stacks wait for comes first, and of that small files before large ones, so that
//! nobody waits for long behind a large one. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::profile::Executable;
use crate::unwind::AddressPage;

/// What is asked of a file.
#[derive(Clone, Debug)]
pub struct Order {
    /// The file.
    pub executable: Arc<Executable>,
    /// Is it asked for where its code is, and what else it says?
    pub first: bool,
    /// Pages whose tables are asked for.
    pub pages: Vec<AddressPage>,
}

/// What waits to be done; one order a file.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Order>,
}

impl Queue {
    /// Adds an order to what waits of its file.
    pub(super) fn push(&mut self, order: Order) {
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|waiting| waiting.executable.id == order.executable.id) {
            Some(waiting) => {
                waiting.first |= order.first;
                waiting.pages.extend(order.pages);
            }
            None => self.waiting.push(order),
        }
    }

    /// Does nothing wait?
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What to do next.
    pub(super) fn pop(&mut self) -> Option<Order> {
        let (index, _) = self.waiting.iter().enumerate().max_by_key(|(_, order)| {
            let length = order.executable.length;
            (!order.pages.is_empty(), Reverse(length))
        })?;
        Some(self.waiting.swap_remove(index))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::profile::ExecutableId;

    fn file(id: u32, length: u64) -> Arc<Executable> {
        Arc::new(Executable {
            id: ExecutableId(id),
            path: "/program".into(),
            file: None,
            image: None,
            length,
            build_id: None,
            htl_hash: OnceLock::new(),
            segments: Box::new([]),
            constants: Box::default(),
            root: None,
        })
    }

    fn order(executable: &Arc<Executable>, pages: &[u64]) -> Order {
        Order {
            executable: Arc::clone(executable),
            first: pages.is_empty(),
            pages: pages.iter().copied().map(AddressPage).collect(),
        }
    }

    #[test]
    fn what_stacks_wait_for_is_done_first_then_what_is_small() {
        let mut queue = Queue::default();
        let (large, small, needed) = (file(1, 300 << 20), file(2, 4 << 10), file(3, 100 << 20));
        for file in [&large, &small, &needed] {
            queue.push(order(file, &[]));
        }
        queue.push(order(&needed, &[7]));
        queue.push(order(&needed, &[8]));
        let first = queue.pop().unwrap();
        assert_eq!((first.executable.id, first.first), (ExecutableId(3), true));
        assert_eq!(first.pages, [AddressPage(7), AddressPage(8)]);
        assert_eq!(queue.pop().unwrap().executable.id, ExecutableId(2));
        assert_eq!(queue.pop().unwrap().executable.id, ExecutableId(1));
        assert!(queue.pop().is_none());
    }
}
