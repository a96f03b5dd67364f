//! Payloads are compressed once, when they are encoded; answers may come compressed.

use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;

use crate::profile::Coding;

/// The library's own default.
const ZSTD_LEVEL: i32 = 3;

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
        Coding::Zstd => zstd::bulk::compress(&bytes, ZSTD_LEVEL).expect("memory takes everything"),
    }
}

/// Decompresses untrusted bytes, where there are at most `longest` of them.
pub(super) fn decompressed(bytes: &[u8], coding: Coding, longest: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = longest as u64 + 1;
    // Untrusted bytes are decompressed in Rust.
    match coding {
        Coding::Identity => bytes.take(limit).read_to_end(&mut plain),
        Coding::Gzip => MultiGzDecoder::new(bytes)
            .take(limit)
            .read_to_end(&mut plain),
        Coding::Zstd => StreamingDecoder::new(bytes)
            .map_err(io::Error::other)?
            .take(limit)
            .read_to_end(&mut plain),
    }?;
    if plain.len() > longest {
        return Err(io::Error::other("it is too long"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{compressed, decompressed};
    use crate::profile::Coding;

    const ALL: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Zstd];

    #[test]
    fn a_bomb_is_refused() {
        for coding in ALL {
            let bomb = compressed(vec![0; 50 << 20], coding);
            assert!(decompressed(&bomb, coding, 64 << 10).is_err());
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..3_000), repeat in 1usize..60) {
            let bytes = bytes.repeat(repeat);
            for coding in ALL {
                let packed = compressed(bytes.clone(), coding);
                prop_assert_eq!(&decompressed(&packed, coding, bytes.len()).unwrap(), &bytes);
            }
        }

        #[test]
        fn noise_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), coding in 0usize..3) {
            let starts: [&[u8]; 3] = [b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"];
            let bytes = [starts[coding], &bytes].concat();
            let _ = decompressed(&bytes, ALL[coding], 64 << 10);
        }
    }
}
