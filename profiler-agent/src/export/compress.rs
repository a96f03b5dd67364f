//! Payloads are compressed once, when they are encoded.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::profile::Coding;

/// The bytes in this coding.
pub(super) fn compressed(bytes: Vec<u8>, coding: Coding) -> Vec<u8> {
    match coding {
        Coding::Identity => bytes,
        Coding::Gzip => {
            let mut stream = GzEncoder::new(Vec::new(), Compression::default());
            stream
                .write_all(&bytes)
                .and_then(|()| stream.finish())
                .expect("a vector takes everything")
        }
        Coding::Zstd => compress_to_vec(bytes.as_slice(), CompressionLevel::Fastest),
    }
}
