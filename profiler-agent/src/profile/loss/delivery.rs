//! What did not reach a destination.

use std::collections::BTreeMap;

use super::super::explanation::explained;

explained! {
    /// Why something did not reach a destination.
    DeliveryCause {
        QueueFull "queue_full" counts "payloads"
            what "were dropped because the exporter's queue in memory was full"
            cause "The receiver takes less than is sent or does not answer, and there is no spool (spool.directory is empty) or it took \
                   no more."
            fix "look at the receiver; set spool.directory, or raise sending_queue.queue_size of the exporter"
        ReceiverRefused "receiver_refused" counts "payloads"
            what "were dropped because the receiver refused them for good"
            cause "The receiver answered with an error that a repetition does not change: wrong credentials or tenant, a payload \
                   larger than it takes, a signal that it does not support."
            fix "read the log, which has the receiver's answer; correct the exporter's headers, endpoint or max_request_size"
        ReceiverRejected "receiver_rejected" counts "profiles"
            what "were rejected in payloads that the receiver took otherwise"
            cause "The receiver's limits or checks apply to single profiles: too old, too many series, a label that it does not take."
            fix "read the log, which has the receiver's message; change its limits or labels.exclude"
        ShutdownUndelivered "shutdown_undelivered" counts "payloads"
            what "were dropped because they were not delivered before the agent stopped"
            cause "The receiver did not answer within the time that a stop may take, and there was no spool."
            fix "set spool.directory: what is undelivered waits there for the next start"
        SpoolFull "spool_full" counts "payloads"
            what "were dropped as the oldest because the exporter's spool was full"
            cause "The receiver was away for longer than spool.max_size lasts."
            fix "look at the receiver; raise spool.max_size"
        SpoolExpired "spool_expired" counts "payloads"
            what "were dropped because they were older than spool.max_age"
            cause "The receiver was away for longer than payloads are kept."
            fix "look at the receiver; raise spool.max_age"
        SpoolFailed "spool_failed" counts "payloads"
            what "could not be written to the spool, and are in memory alone"
            cause "The disk is full, read-only or broken. A crash would lose these payloads; those that are dropped count as \
                   queue_full or shutdown_undelivered too."
            fix "look at the log, which has the error, and at the disk of spool.directory"
        SpoolDamaged "spool_damaged" counts "payloads and files"
            what "of the spool could not be read back"
            cause "The checksum of a payload is wrong, or the file's structure is: a disk that loses writes, or a file that something \
                   else changed. A damaged file is set aside beside the new one."
            fix "look at the disk (dmesg, SMART); files that were set aside can be deleted"
    }
}

/// What one cause did, to one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryLoss {
    /// Payloads, or what else the cause counts ([`DeliveryCause::explanation`]).
    pub payloads: u64,
    /// Samples in the payloads that are lost.
    pub samples: u64,
    /// Bytes of these payloads, as they were to be sent.
    pub bytes: u64,
}

impl DeliveryLoss {
    const fn add(&mut self, more: Self) {
        self.payloads += more.payloads;
        self.samples += more.samples;
        self.bytes += more.bytes;
    }
}

/// What was lost on the way to one destination, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryLosses {
    losses: BTreeMap<DeliveryCause, DeliveryLoss>,
}

impl DeliveryLosses {
    /// Counts a payload that is lost, with its samples and its bytes.
    pub fn lose(&mut self, cause: DeliveryCause, samples: u64, bytes: u64) {
        let payloads = 1;
        self.losses.entry(cause).or_default().add(DeliveryLoss {
            payloads,
            samples,
            bytes,
        });
    }
    /// Counts what takes no payload's samples away, or whose samples are not known; zero leaves no entry.
    pub fn count(&mut self, cause: DeliveryCause, count: u64) {
        if count > 0 {
            self.losses.entry(cause).or_default().payloads += count;
        }
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (cause, loss) in &other.losses {
            self.losses.entry(*cause).or_default().add(*loss);
        }
    }
    /// What `cause` did.
    #[must_use]
    pub fn of(&self, cause: DeliveryCause) -> DeliveryLoss {
        self.losses.get(&cause).copied().unwrap_or_default()
    }
    /// Every cause that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (DeliveryCause, DeliveryLoss)> + '_ {
        self.losses.iter().map(|(cause, loss)| (*cause, *loss))
    }
    /// Samples of all causes together.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.losses.values().map(|loss| loss.samples).sum()
    }
    /// Did nothing happen?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.losses.is_empty()
    }
}
