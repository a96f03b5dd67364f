//! What is written of a payload beside its bytes.
//!
//! 70 bytes, numbers little-endian:
//!
//! | at | what |
//! |---|---|
//! | 0 | version: 1 |
//! | 1 | coding of the bytes: 0 identity, 1 gzip, 2 zstd |
//! | 2 | window, 16 bytes |
//! | 18 | part, u32 |
//! | 22, 30 | start and end, u64, ns since 1970 |
//! | 38 | samples, u64 |
//! | 46 | length of the bytes when they are not compressed, u64 |
//! | 54 | length of the bytes, u64 |
//! | 62 | CRC-32 of the bytes |
//! | 66 | CRC-32 of all before |

use crate::profile::{Coding, Payload, PayloadId, UnixTime, WindowUuid};

const VERSION: u8 = 1;
/// Bytes of an encoded header.
pub(super) const LENGTH: usize = 70;

/// What is known of a payload without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload, without bytes.
    payload: Payload,
    length: u64,
    checksum: u32,
}

/// Why a payload could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is nothing under its number.
    #[error("it is not there")]
    Missing,
    /// Its header is of another version, or not one.
    #[error("its header is damaged or of a later version")]
    Header,
    /// Its bytes are not those that were written.
    #[error("its bytes are damaged")]
    Bytes,
}

impl Header {
    /// The header of a payload.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        Self {
            payload: Payload {
                bytes: Vec::new(),
                ..*payload
            },
            length: payload.bytes.len() as u64,
            checksum: checksum(&payload.bytes),
        }
    }

    /// Length of the payload's bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// When the payload's window was closed.
    #[must_use]
    pub const fn end(&self) -> UnixTime {
        self.payload.end
    }

    /// Samples in the payload.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.payload.samples
    }

    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = &self.payload;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.push(match payload.coding {
            Coding::Identity => 0,
            Coding::Gzip => 1,
            Coding::Zstd => 2,
        });
        bytes.extend_from_slice(&payload.id.window.0);
        bytes.extend_from_slice(&payload.id.part.to_le_bytes());
        for number in [
            payload.start.0,
            payload.end.0,
            payload.samples,
            payload.raw_length,
            self.length,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is not what was written, or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| Damage::Header)?;
        let (content, sum) = bytes.split_at(LENGTH - 4);
        if checksum(content).to_le_bytes() != *sum || content[0] != VERSION {
            return Err(Damage::Header);
        }
        let coding = match content[1] {
            0 => Coding::Identity,
            1 => Coding::Gzip,
            2 => Coding::Zstd,
            _ => return Err(Damage::Header),
        };
        let mut window = [0; 16];
        window.copy_from_slice(&content[2..18]);
        Ok(Self {
            payload: Payload {
                id: PayloadId {
                    window: WindowUuid(window),
                    part: u32_at(content, 18),
                },
                start: UnixTime(u64_at(content, 22)),
                end: UnixTime(u64_at(content, 30)),
                samples: u64_at(content, 38),
                coding,
                raw_length: u64_at(content, 46),
                bytes: Vec::new(),
            },
            length: u64_at(content, 54),
            checksum: u32_at(content, 62),
        })
    }

    /// The payload with its bytes.
    ///
    /// # Errors
    /// They are not those that were written.
    pub fn with(self, bytes: Vec<u8>) -> Result<Payload, Damage> {
        if bytes.len() as u64 != self.length || checksum(&bytes) != self.checksum {
            return Err(Damage::Bytes);
        }
        Ok(Payload {
            bytes,
            ..self.payload
        })
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Damage, Header};
    use crate::profile::{Coding, Payload, PayloadId, UnixTime, WindowUuid};

    prop_compose! {
        fn payload()(
            window in any::<[u8; 16]>(), part in any::<u32>(), numbers in any::<[u64; 4]>(),
            coding in prop_oneof![Just(Coding::Identity), Just(Coding::Gzip), Just(Coding::Zstd)],
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) -> Payload {
            Payload {
                id: PayloadId { window: WindowUuid(window), part },
                start: UnixTime(numbers[0]),
                end: UnixTime(numbers[1]),
                samples: numbers[2],
                coding,
                raw_length: numbers[3],
                bytes,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payload in payload()) {
            let header = Header::decode(&Header::of(&payload).encode()).unwrap();
            prop_assert_eq!(header.end(), payload.end);
            prop_assert_eq!(header.with(payload.bytes.clone()).unwrap(), payload);
        }

        #[test]
        fn a_changed_bit_is_seen(payload in payload(), bit in any::<prop::sample::Index>()) {
            let mut header = Header::of(&payload).encode();
            let written = header.len() + payload.bytes.len();
            let bit = bit.index(8 * written);
            let mut bytes = payload.bytes;
            let (place, damage) = match bit / 8 {
                at if at < header.len() => (&mut header[at], Damage::Header),
                at => (&mut bytes[at - super::LENGTH], Damage::Bytes),
            };
            *place ^= 1 << (bit % 8);
            let read = Header::decode(&header).and_then(|header| header.with(bytes));
            prop_assert_eq!(read.unwrap_err(), damage);
        }

        #[test]
        fn nonsense_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(Header::decode(&bytes).unwrap_err(), Damage::Header);
        }
    }
}
