//! What the agent publishes of itself to profilers (OpenTelemetry process context, OTEP 4719): its resource, and
//! that its threads have contexts.

use std::io;

use opentelemetry_sdk::Resource as SdkResource;
use prost::Message;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

const SIGNATURE: &[u8; 8] = b"OTEL_CTX";
const VERSION: u32 = 2;
const HEADER: usize = 32;

#[derive(Clone, PartialEq, Message)]
struct ProcessContext {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(message, tag = "5")]
    Array(Array),
}

#[derive(Clone, PartialEq, Message)]
struct Array {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

/// The payload: the resource, and the schema of the threads' contexts, which have no attributes.
fn payload(resource: &SdkResource) -> Vec<u8> {
    ProcessContext {
        resource: Some(Resource {
            attributes: resource
                .iter()
                .map(|(key, value)| attribute(key.as_str(), Value::Text(value.to_string())))
                .collect(),
        }),
        attributes: vec![
            attribute(
                "threadlocal.schema_version",
                Value::Text("tlsdesc_v1_dev".to_owned()),
            ),
            attribute(
                "threadlocal.attribute_key_map",
                Value::Array(Array { values: Vec::new() }),
            ),
        ],
    }
    .encode_to_vec()
}

/// Publishes the resource for as long as the process lives; `now` is a time in nanoseconds that is not zero. To be
/// called once.
///
/// # Errors
/// Those of the system calls.
pub(super) fn publish(resource: &SdkResource, now: u64) -> io::Result<()> {
    let payload = payload(resource);
    let length = HEADER + payload.len();
    let file = memfd_create("OTEL_CTX", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, length as u64)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping where the kernel wants it, of a file that nobody else has.
    let memory = unsafe {
        mmap(
            std::ptr::null_mut(),
            length,
            protection,
            MapFlags::PRIVATE,
            &file,
            0,
        )
    }?;
    let memory = memory.cast::<u8>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(SIGNATURE);
    bytes.extend(VERSION.to_ne_bytes());
    bytes.extend((payload.len() as u32).to_ne_bytes());
    bytes.extend(now.to_ne_bytes());
    bytes.extend((memory as u64 + HEADER as u64).to_ne_bytes());
    bytes.extend(payload);
    // SAFETY: the mapping is as long, and is never unmapped. Whoever reads it before it is written whole finds no
    // signature or a payload that the mapping's zeros make empty.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len()) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_found_by_its_name_and_says_who_the_agent_is() {
        let resource = SdkResource::builder_empty()
            .with_attribute(opentelemetry::KeyValue::new(
                "service.name",
                "profiler-agent",
            ))
            .build();
        publish(&resource, 77).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps
            .lines()
            .find(|line| line.contains("/memfd:OTEL_CTX"))
            .unwrap();
        let start = line.split('-').next().unwrap();
        let address = u64::from_str_radix(start, 16).unwrap();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let read = |at: u64, length: usize| {
            let mut bytes = vec![0; length];
            std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, at).unwrap();
            bytes
        };
        let header = read(address, HEADER);
        assert_eq!(&header[..8], SIGNATURE);
        let number = |range: std::ops::Range<usize>| {
            let bytes = header[range].iter().rev();
            bytes.fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        assert_eq!((number(8..12), number(16..24)), (2, 77));
        let payload = read(number(24..32), number(12..16) as usize);
        let context = ProcessContext::decode(&*payload).unwrap();
        let text = |key: &KeyValue| match key.value.clone()?.value? {
            Value::Text(text) => Some((key.key.clone(), text)),
            Value::Array(_) => None,
        };
        let resource = context.resource.unwrap().attributes;
        let expected = ("service.name".to_owned(), "profiler-agent".to_owned());
        assert_eq!(
            resource.iter().filter_map(text).collect::<Vec<_>>(),
            [expected]
        );
        assert_eq!(context.attributes.len(), 2);
    }
}
