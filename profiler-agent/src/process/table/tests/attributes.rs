//! What is said of a process when it was sampled already, or has ended.

use super::*;
use crate::profile::AttributeValue;

#[test]
fn attributes_may_come_late_and_after_the_end() {
    let attributes = |service: &str| -> Arc<[ResourceAttribute]> {
        Arc::new([ResourceAttribute {
            key: Process::SERVICE_NAME.into(),
            value: AttributeValue::Text(service.into()),
        }])
    };
    let mut table = Table::new(Values::default());
    table.exec_(10 * SECOND, 5, "first");
    let first = table.image(5).unwrap();
    let sampled = table.sample(10 * SECOND + 1, 5, &[]).unwrap();
    assert_eq!(sampled.process.service(), "first");
    let known = table.set_resource(5, first, attributes("shop")).unwrap();
    // It is the same process, and what was taken of it before is as it was.
    assert_eq!((known.key, known.service()), (sampled.process.key, "shop"));
    assert_eq!(sampled.process.service(), "first");
    table.exec_(11 * SECOND, 5, "second");
    let second = table.image(5).unwrap();
    table.exit_(12 * SECOND, 5, 5);
    assert!(table.ended(5));
    // Of either image of the pid, each for itself; nothing of one that never was.
    let known = table.set_resource(5, first, attributes("late")).unwrap();
    assert_eq!((known.service(), &*known.comm), ("late", "first"));
    let known = table.set_resource(5, second, attributes("later")).unwrap();
    assert_eq!((known.service(), &*known.comm), ("later", "second"));
    // A sample that was located before finds what is known by now of its image.
    let known = table.known(sampled.process.key).unwrap();
    assert_eq!((known.service(), &*known.comm), ("late", "first"));
    assert!(
        table
            .known(ProcessKey {
                pid: 6,
                ..known.key
            })
            .is_none()
    );
    assert!(
        table
            .set_resource(5, BootTime(7), attributes("x"))
            .is_none()
    );
    let late = table.sample(10 * SECOND + 2, 5, &[]).unwrap();
    assert_eq!(late.process.service(), "late");
    table.prune(BootTime(20 * SECOND));
    assert!(table.set_resource(5, second, attributes("x")).is_none());
    assert!(table.known(sampled.process.key).is_none());
}
