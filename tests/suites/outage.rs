//! A collector that is killed, and one that is away, while the agent samples.
//!
//! It is built first, which takes minutes: `cargo xtask test --with-peers`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::peer::collector::{Collector, Exporter};
use profiler_tests::workload::Workload;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How often the collector is killed.
const KILLS: usize = 10;
/// Windows, of a second each, that are closed while there is no collector.
const AWAY: usize = 120;

/// What came through the collector: each profile once, by its id.
#[derive(Default)]
struct Came {
    ids: BTreeSet<Vec<u8>>,
    duplicates: usize,
    /// Samples by the window's start in ms.
    windows: BTreeMap<u64, u64>,
}

/// Behind the collector; it never goes away.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Came>>);

#[tonic::async_trait]
impl ProfilesService for Sink {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        let mut came = self.0.lock().expect("no panic with it");
        let resources = request.into_inner().resource_profiles.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_profiles);
        for profile in scopes.flat_map(|scope| scope.profiles) {
            assert_eq!(profile.profile_id.len(), 16);
            if !came.ids.insert(profile.profile_id) {
                came.duplicates += 1;
                continue;
            }
            let times = profile.samples.iter().map(|s| s.timestamps_unix_nano.len());
            let samples = times.sum::<usize>() as u64;
            let window = profile.time_unix_nano / 1_000_000;
            *came.windows.entry(window).or_default() += samples;
        }
        Ok(Response::new(ExportProfilesServiceResponse::default()))
    }
}

impl Sink {
    /// Serves on a thread of its own until the test ends.
    fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let nonblocking = listener.set_nonblocking(true);
        nonblocking.expect("a listener can be non-blocking");
        let service =
            ProfilesServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let server = Server::builder().add_service(service);
                let serving = server.serve_with_incoming(TcpIncoming::from(listener));
                serving.await.expect("it serves");
            });
        });
        address
    }

    fn windows(&self) -> BTreeMap<u64, u64> {
        self.0.lock().expect("no panic with it").windows.clone()
    }
}

#[test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
fn nothing_is_lost_while_a_collector_is_killed_and_away() {
    let sink = Sink::default();
    let forward = Exporter::Forward(sink.serve());
    let address = free_address();
    let workload = Workload::start(&mut Command::new(c("split")));
    let mut collector = Collector::start(address, forward);
    let daemon = Daemon::start(address);
    let pass = |windows: usize| {
        let last = daemon.windows().len() + windows;
        until("windows are closed", || daemon.windows().len() >= last);
    };
    for _ in 0..KILLS {
        pass(2);
        drop(collector);
        pass(1);
        collector = Collector::start(address, forward);
    }
    drop(collector);
    for _ in 0..AWAY / 10 {
        pass(10);
    }
    let _collector = Collector::start(address, forward);
    let stored = daemon.windows();
    until("what was sampled comes", || {
        let came = sink.windows();
        let has = |(window, samples): (&u64, &u64)| *samples == 0 || came.contains_key(window);
        stored.iter().all(has)
    });
    let stored = daemon.windows();
    daemon.stop();
    let _ = workload.stop();
    let came = sink.windows();
    for (window, samples) in stored.iter().filter(|(_, samples)| **samples > 0) {
        assert_eq!(came.get(window), Some(samples), "the window of {window}");
    }
    assert!(stored.len() >= AWAY + KILLS * 3);
    // Only what was under way when the collector was killed can have come twice: every profile of a payload, of
    // which there is one for each process of the machine.
    let came = sink.0.lock().expect("no panic with it");
    let twice = came.duplicates;
    eprintln!("{} profiles, {twice} of them twice", came.ids.len());
    assert!(twice <= came.ids.len() / 4, "{twice} of {}", came.ids.len());
}
