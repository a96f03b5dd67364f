//! A web shop's machine: services in several languages, a deployment that made one of them slower, a
//! nightly batch, and a process whose name is an attack on the page.

use profiler_agent::profile::{Link, Profile, SampleLoss, UnixTime};

use super::{Builder, Request};

/// The name of a process that must stay a name.
pub(crate) const HOSTILE: &str = "<img src=x onerror=document.title='owned'>";

struct Service {
    pid: u32,
    comm: &'static str,
    executable: &'static str,
    /// Parts of two CPUs that it uses, in thousandths.
    load: u64,
    /// Weight, thread, stack: outermost first, frames separated by a space, `~` for a space in a name.
    stacks: &'static [(u64, &'static str, &'static str)],
}

const SERVICES: &[Service] = &[
    Service {
        pid: 2411,
        comm: "checkout-api",
        executable: "/srv/bin/checkout-api",
        load: 380,
        stacks: &[
            (
                9,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.serverHandler.ServeHTTP go:checkout-api:main.(*server).checkout»main.validate go:checkout-api:regexp.(*Regexp).MatchString»regexp.(*Regexp).doMatch go:checkout-api:regexp.(*Regexp).doExecute go:checkout-api:regexp.(*Regexp).backtrack",
            ),
            (
                7,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.serverHandler.ServeHTTP go:checkout-api:main.(*server).checkout go:checkout-api:main.(*cart).total»main.(*cart).each go:checkout-api:math/big.(*Int).Mul go:checkout-api:math/big.nat.mul go:checkout-api:math/big.addMulVVW",
            ),
            (
                12,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.serverHandler.ServeHTTP go:checkout-api:main.(*server).checkout go:checkout-api:encoding/json.Marshal go:checkout-api:encoding/json.(*encodeState).marshal»encoding/json.(*encodeState).reflectValue go:checkout-api:encoding/json.structEncoder.encode go:checkout-api:encoding/json.stringEncoder»encoding/json.appendString",
            ),
            (
                5,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.serverHandler.ServeHTTP go:checkout-api:main.(*server).checkout go:checkout-api:encoding/json.Marshal go:checkout-api:encoding/json.(*encodeState).marshal»encoding/json.(*encodeState).reflectValue go:checkout-api:encoding/json.structEncoder.encode go:checkout-api:encoding/json.mapEncoder.encode go:checkout-api:slices.SortFunc[...]»slices.pdqsortCmpFunc[...]",
            ),
            (
                6,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.(*conn).readRequest go:checkout-api:net/textproto.(*Reader).ReadMIMEHeader go:checkout-api:net/textproto.readMIMEHeader",
            ),
            (
                6,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:net/http.(*conn).serve go:checkout-api:net/http.(*response).finishRequest go:checkout-api:bufio.(*Writer).Flush go:checkout-api:net.(*conn).Write»net.(*netFD).Write go:checkout-api:internal/poll.(*FD).Write go:checkout-api:syscall.write»syscall.Syscall kernel:[kernel]:entry_SYSCALL_64 kernel:[kernel]:do_syscall_64 kernel:[kernel]:ksys_write kernel:[kernel]:vfs_write kernel:[kernel]:sock_write_iter kernel:[kernel]:tcp_sendmsg kernel:[kernel]:tcp_write_xmit kernel:[kernel]:__ip_queue_xmit",
            ),
            (
                8,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:runtime.gcBgMarkWorker go:checkout-api:runtime.systemstack go:checkout-api:runtime.gcDrain go:checkout-api:runtime.scanobject",
            ),
            (
                3,
                "checkout-api",
                "go:checkout-api:runtime.goexit go:checkout-api:runtime.gcBgMarkWorker go:checkout-api:runtime.systemstack go:checkout-api:runtime.gcDrain go:checkout-api:runtime.greyobject",
            ),
            (
                4,
                "checkout-api",
                "go:checkout-api:runtime.mcall go:checkout-api:runtime.park_m go:checkout-api:runtime.schedule go:checkout-api:runtime.findRunnable go:checkout-api:runtime.netpoll kernel:[kernel]:entry_SYSCALL_64 kernel:[kernel]:do_syscall_64 kernel:[kernel]:do_epoll_wait",
            ),
        ],
    },
    Service {
        pid: 1830,
        comm: "search-indexer",
        executable: "/srv/bin/search-indexer",
        load: 620,
        stacks: &[
            (
                14,
                "tokio-runtime-w",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread rust:search-indexer:std::sys::thread::unix::Thread::new::thread_start rust:search-indexer:tokio::runtime::scheduler::multi_thread::worker::run rust:search-indexer:search_indexer::index::Segment::merge»search_indexer::index::Postings::union rust:search-indexer:<alloc::vec::Vec<T>~as~core::iter::Extend<T>>::extend",
            ),
            (
                10,
                "tokio-runtime-w",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread rust:search-indexer:std::sys::thread::unix::Thread::new::thread_start rust:search-indexer:tokio::runtime::scheduler::multi_thread::worker::run rust:search-indexer:search_indexer::index::Segment::merge rust:search-indexer:search_indexer::codec::bitpack»core::core_arch::x86::avx2::_mm256_shuffle_epi8",
            ),
            (
                8,
                "tokio-runtime-w",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread rust:search-indexer:std::sys::thread::unix::Thread::new::thread_start rust:search-indexer:tokio::runtime::scheduler::multi_thread::worker::run rust:search-indexer:search_indexer::tokenize::Tokens::next»unicode_segmentation::word::UnicodeWords::next rust:search-indexer:unicode_segmentation::tables::word_category",
            ),
            (
                5,
                "tokio-runtime-w",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread rust:search-indexer:std::sys::thread::unix::Thread::new::thread_start rust:search-indexer:tokio::runtime::scheduler::multi_thread::worker::run rust:search-indexer:search_indexer::store::flush rust:search-indexer:zstd::stream::write::Encoder<W>::finish native:libzstd.so.1:ZSTD_compressStream2 native:libzstd.so.1:ZSTD_compressBlock_doubleFast",
            ),
            (
                4,
                "tokio-runtime-w",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread rust:search-indexer:std::sys::thread::unix::Thread::new::thread_start rust:search-indexer:tokio::runtime::scheduler::multi_thread::worker::run rust:search-indexer:search_indexer::store::flush native:libc.so.6:__write kernel:[kernel]:entry_SYSCALL_64 kernel:[kernel]:do_syscall_64 kernel:[kernel]:ksys_write kernel:[kernel]:vfs_write kernel:[ext4]:ext4_buffered_write_iter kernel:[kernel]:generic_perform_write kernel:[kernel]:copy_page_from_iter_atomic",
            ),
        ],
    },
    Service {
        pid: 977,
        comm: "postgres",
        executable: "/usr/lib/postgresql/17/bin/postgres",
        load: 220,
        stacks: &[
            (
                9,
                "postgres",
                "native:postgres:_start native:libc.so.6:__libc_start_main native:postgres:main native:postgres:PostmasterMain native:postgres:ServerLoop native:postgres:PostgresMain native:postgres:exec_simple_query native:postgres:PortalRun native:postgres:standard_ExecutorRun native:postgres:ExecHashJoin native:postgres:ExecScanHashBucket native:postgres:ExecInterpExpr",
            ),
            (
                7,
                "postgres",
                "native:postgres:_start native:libc.so.6:__libc_start_main native:postgres:main native:postgres:PostmasterMain native:postgres:ServerLoop native:postgres:PostgresMain native:postgres:exec_simple_query native:postgres:PortalRun native:postgres:standard_ExecutorRun native:postgres:ExecHashJoin native:postgres:ExecSeqScan native:postgres:heap_getnextslot native:postgres:heapgettup_pagemode",
            ),
            (
                4,
                "postgres",
                "native:postgres:_start native:libc.so.6:__libc_start_main native:postgres:main native:postgres:PostmasterMain native:postgres:ServerLoop native:postgres:PostgresMain native:postgres:exec_simple_query native:postgres:pg_plan_queries native:postgres:standard_planner native:postgres:make_one_rel native:postgres:add_path",
            ),
            (
                3,
                "postgres",
                "native:postgres:_start native:libc.so.6:__libc_start_main native:postgres:main native:postgres:PostmasterMain native:postgres:ServerLoop native:postgres:PostgresMain native:postgres:exec_simple_query native:postgres:PortalRun native:postgres:printtup native:libc.so.6:__memmove_avx_unaligned_erms",
            ),
            (
                3,
                "postgres",
                "native:postgres:_start native:libc.so.6:__libc_start_main native:postgres:main native:postgres:PostmasterMain native:postgres:ServerLoop native:postgres:PostgresMain native:postgres:exec_simple_query native:postgres:finish_xact_command native:postgres:XLogFlush native:libc.so.6:fdatasync kernel:[kernel]:entry_SYSCALL_64 kernel:[kernel]:do_syscall_64 kernel:[kernel]:do_fsync kernel:[ext4]:ext4_sync_file",
            ),
            (
                2,
                "postgres",
                "broken::[unwind:~no_rule] unnamed:vector.so:vector.so+0x8a40 unnamed:vector.so:vector.so+0x91f0",
            ),
        ],
    },
    Service {
        pid: 3120,
        comm: "node",
        executable: "/usr/bin/node",
        load: 150,
        stacks: &[
            (
                8,
                "node",
                "native:node:node::Start native:node:uv_run native:node:v8::internal::Execution::Call v8js:[anonymous]:processTicksAndRejections v8js:[anonymous]:renderToString~/srv/storefront/server.js v8js:[anonymous]:ProductList~/srv/storefront/list.js v8js:[anonymous]:formatPrice~/srv/storefront/price.js",
            ),
            (
                4,
                "node",
                "native:node:node::Start native:node:uv_run native:node:v8::internal::Execution::Call v8js:[anonymous]:processTicksAndRejections v8js:[anonymous]:renderToString~/srv/storefront/server.js v8js:[anonymous]:escapeHtml~/srv/storefront/escape.js",
            ),
            (
                3,
                "node",
                "native:node:node::Start native:node:uv_run native:node:v8::internal::Heap::CollectGarbage native:node:v8::internal::MarkCompactCollector::MarkLiveObjects",
            ),
            (
                2,
                "V8Worker",
                "native:libc.so.6:clone3 native:libc.so.6:start_thread native:node:v8::internal::maglev::MaglevCompiler::Compile",
            ),
        ],
    },
    Service {
        pid: 2750,
        comm: "java",
        executable: "/usr/lib/jvm/bin/java",
        load: 120,
        stacks: &[
            (
                6,
                "grpc-worker-1",
                "native:libc.so.6:clone3 native:libjvm.so:thread_native_entry native:libjvm.so:JavaThread::run jvm:[anonymous]:com/shop/orders/OrderService.place jvm:[anonymous]:com/shop/orders/Pricing.apply jvm:[anonymous]:java/math/BigDecimal.multiply",
            ),
            (
                4,
                "grpc-worker-1",
                "native:libc.so.6:clone3 native:libjvm.so:thread_native_entry native:libjvm.so:JavaThread::run jvm:[anonymous]:com/shop/orders/OrderService.place jvm:[anonymous]:java/util/HashMap.resize",
            ),
            (
                3,
                "G1~Conc#0",
                "native:libc.so.6:clone3 native:libjvm.so:thread_native_entry native:libjvm.so:G1ConcurrentMark::mark_from_roots native:libjvm.so:G1CMTask::do_marking_step",
            ),
        ],
    },
    Service {
        pid: 4410,
        comm: "python3",
        executable: "/usr/bin/python3.13",
        load: 60,
        stacks: &[
            (
                5,
                "recommend",
                "native:python3.13:_start native:libc.so.6:__libc_start_main native:python3.13:Py_RunMain cpython:recommend.py:<module>~recommend.py cpython:recommend.py:score_users~recommend.py native:_multiarray_umath.so:DOUBLE_matmul native:libopenblas.so.0:dgemm_kernel_HASWELL",
            ),
            (
                2,
                "recommend",
                "native:python3.13:_start native:libc.so.6:__libc_start_main native:python3.13:Py_RunMain cpython:recommend.py:<module>~recommend.py cpython:recommend.py:load_events~recommend.py native:python3.13:_PyEval_EvalFrameDefault",
            ),
        ],
    },
    Service {
        pid: 14,
        comm: "ksoftirqd/0",
        executable: "",
        load: 30,
        stacks: &[
            (
                3,
                "ksoftirqd/0",
                "kernel:[kernel]:ret_from_fork kernel:[kernel]:kthread kernel:[kernel]:smpboot_thread_fn kernel:[kernel]:handle_softirqs kernel:[virtio_net]:virtnet_poll kernel:[kernel]:napi_gro_receive",
            ),
            (
                1,
                "kworker/1:2",
                "kernel:[kernel]:ret_from_fork kernel:[kernel]:kthread kernel:[kernel]:worker_thread kernel:[kernel]:process_one_work kernel:[kernel]:wb_workfn",
            ),
        ],
    },
    Service {
        pid: 6666,
        comm: HOSTILE,
        executable: "/tmp/<img src=x onerror=document.title='owned'>",
        load: 12,
        stacks: &[(
            1,
            "<script>",
            "native:</script><script>document.title='owned'</script>:main native:x:<svg/onload=document.title='owned'> native:x:work",
        )],
    },
];

/// A small generator with the same numbers every time.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

/// A window of ten seconds. `age` in windows decides what goes on: the latest 120 windows have the slower
/// release of the checkout, and between 150 and 180 windows ago the indexer merged.
pub(crate) fn window(start: UnixTime, age: u64) -> Profile {
    let mut noise = Noise::new(start.0 / 1_000_000_000 + 1);
    let mut requests = Noise::new(start.0 / 1_000_000_000 + 2);
    let mut builder = Builder::new(start, 10);
    for service in SERVICES {
        let process = builder.process(service.pid, service.comm, service.executable);
        let seconds = (start.0 / 1_000_000_000) as f64;
        let slow = (seconds / 700.0 + f64::from(service.pid)).sin();
        let quick = (seconds / 93.0 + f64::from(service.pid)).sin();
        let burst = (noise.below(1000) as f64 / 1000.0).powi(6) * 0.7;
        let mut load = service.load as f64 * (0.62 + 0.28 * slow + 0.1 * quick + burst);
        if service.comm == "search-indexer" && !(150..180).contains(&age) {
            load *= 0.2;
        }
        // Ten seconds of two CPUs at 99 Hz.
        let samples = (load / 1000.0 * 1980.0) as u64;
        let weights: u64 = service.stacks.iter().map(|stack| stack.0).sum();
        for (weight, thread, stack) in service.stacks {
            let slower = if age < 120 && stack.contains("encoding/json.Marshal") {
                3
            } else {
                1
            };
            let expected = samples * weight * slower / weights;
            let count = expected * (70 + noise.below(60)) / 100;
            let frames: Vec<String> = stack
                .split(' ')
                .map(|frame| frame.replace('~', " "))
                .collect();
            // Some samples are taken further up the stack.
            let upper = count / 9;
            let texts: Vec<&str> = frames.iter().map(String::as_str).collect();
            let thread_name = thread.replace('~', " ");
            match span_names(service.comm) {
                None => builder.add(process, &thread_name, &texts, count - upper),
                Some(names) => {
                    for _ in upper..count {
                        let (time, request) = (requests.below(9_999), requests.below(REQUESTS));
                        let time = UnixTime(start.0 + time * 1_000_000);
                        add_request(
                            &mut builder,
                            process,
                            &thread_name,
                            &texts,
                            time,
                            (request, names),
                        );
                    }
                }
            }
            let cut = texts.len() - (1 + noise.below(2) as usize).min(texts.len() - 1);
            builder.add(process, &thread.replace('~', " "), &texts[..cut], upper);
        }
    }
    if age % 90 == 7 {
        builder.lose(SampleLoss::RingFull, 3);
    }
    builder.finish()
}

/// Requests that begin in each second.
const REQUESTS: u64 = 5;
const ENDPOINTS: [&str; 3] = ["/cart", "/checkout", "/search"];
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

/// The spans of a service by endpoint; none where it is not traced.
fn span_names(comm: &str) -> Option<[&'static str; 3]> {
    match comm {
        "checkout-api" => Some(["GET /cart", "POST /checkout", "GET /search"]),
        "postgres" => Some(["select cart", "insert order", "select item"]),
        HOSTILE => Some([HOSTILE; 3]),
        _ => None,
    }
}

/// The trace of a request of this second.
pub(crate) fn trace_of(second: u64, request: u64) -> [u8; 16] {
    let mut noise = Noise::new(second * REQUESTS + request + 1);
    std::array::from_fn(|_| noise.below(256) as u8)
}

/// Adds a sample of one of the requests of its second.
fn add_request(
    builder: &mut Builder,
    process: u32,
    thread: &str,
    stack: &[&str],
    time: UnixTime,
    (request, names): (u64, [&str; 3]),
) {
    let second = time.0 / 1_000_000_000;
    let trace_id = trace_of(second, request);
    let endpoint = (request % 3) as usize;
    let mut span_id: [u8; 8] = std::array::from_fn(|index| trace_id[index]);
    span_id[0] ^= process as u8 + 1;
    let labels = [
        ("endpoint", ENDPOINTS[endpoint]),
        ("span_name", names[endpoint]),
        ("tenant", TENANTS[((second + request) % 4) as usize]),
    ];
    let hostile = [(HOSTILE, HOSTILE), labels[1]];
    let labels: &[(&str, &str)] = if names[0] == HOSTILE {
        &hostile
    } else {
        &labels
    };
    let link = Some(Link { trace_id, span_id });
    builder.add_request(process, thread, stack, &[time], Request { labels, link });
}

/// A profile with this many distinct stacks, 24 to 40 deep, as a large service has.
pub(crate) fn many_stacks(start: UnixTime, stacks: u64) -> Profile {
    let mut noise = Noise::new(7);
    let mut builder = Builder::new(start, 60);
    let process = builder.process(99, "monolith", "/srv/bin/monolith");
    let kinds = ["native", "rust", "go", "native", "kernel"];
    let names: Vec<String> = (0..6_000u64)
        .map(|n| {
            let kind = kinds[(n % 5) as usize];
            format!(
                "{kind}:monolith:module{}::Component{}::operation_{n}",
                n % 37,
                n % 411
            )
        })
        .collect();
    for number in 0..stacks {
        let depth = 24 + noise.below(17);
        // A path of the number's digits makes each stack distinct; the rest is shared.
        let mut digits = number;
        let mut place = 0;
        let stack: Vec<&str> = (0..depth)
            .map(|level| {
                if level < 8 {
                    place = (place * 3 + number % 5) % 50;
                } else {
                    place = (place * 31 + digits % 10 + 50) % 6_000;
                    digits /= 10;
                }
                names[place as usize].as_str()
            })
            .collect();
        let mut leaf = stack;
        leaf.push(&names[(number % 6_000) as usize]);
        leaf.push(&names[(number / 6_000 % 6_000) as usize]);
        builder.add(process, "monolith", &leaf, 1 + noise.below(40));
    }
    builder.finish()
}
