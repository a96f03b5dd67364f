//! The daemon: what it samples is in its store, on its page and, as it was sampled, at a receiver,
//! even one that starts late; it stops when asked to.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::profiles::v1development::{ProfilesDictionary, Sample};
use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::claim::{TOLERANCE, arrived_whole};
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::workload::Workload;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A receiver that keeps what came.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<ExportProfilesServiceRequest>>>);

#[tonic::async_trait]
impl ProfilesService for Receiver {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        self.0
            .lock()
            .expect("no panic with it")
            .push(request.into_inner());
        Ok(Response::new(ExportProfilesServiceResponse::default()))
    }
}

impl Receiver {
    /// Serves on a thread of its own until the test ends.
    fn serve(&self, listener: TcpListener) {
        let service =
            ProfilesServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip);
        listener
            .set_nonblocking(true)
            .expect("a listener can be non-blocking");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let server = Server::builder().add_service(service);
                server
                    .serve_with_incoming(TcpIncoming::from(listener))
                    .await
                    .expect("it serves");
            });
        });
    }

    /// Samples by the window's start in ms.
    fn windows(&self) -> BTreeMap<u64, u64> {
        let mut windows = BTreeMap::new();
        for request in self.0.lock().expect("no panic with it").iter() {
            let scopes = request
                .resource_profiles
                .iter()
                .flat_map(|resource| &resource.scope_profiles);
            for profile in scopes.flat_map(|scope| &scope.profiles) {
                let samples: u64 = profile.samples.iter().map(count).sum();
                *windows
                    .entry(profile.time_unix_nano / 1_000_000)
                    .or_default() += samples;
            }
        }
        windows
    }

    /// How many samples have this function in their stack.
    fn samples_in(&self, function: &str) -> u64 {
        let mut samples = 0;
        for request in self.0.lock().expect("no panic with it").iter() {
            let dictionary = request.dictionary.as_ref().expect("a dictionary");
            let scopes = request
                .resource_profiles
                .iter()
                .flat_map(|resource| &resource.scope_profiles);
            let all = scopes
                .flat_map(|scope| &scope.profiles)
                .flat_map(|profile| &profile.samples);
            samples += all
                .filter(|sample| is_in(dictionary, sample, function))
                .map(count)
                .sum::<u64>();
        }
        samples
    }
}

fn count(sample: &Sample) -> u64 {
    match sample.values.as_slice() {
        [] => sample.timestamps_unix_nano.len() as u64,
        values => values.iter().sum::<i64>().cast_unsigned(),
    }
}

fn is_in(dictionary: &ProfilesDictionary, sample: &Sample, function: &str) -> bool {
    let stack = &dictionary.stack_table[sample.stack_index as usize];
    stack.location_indices.iter().any(|location| {
        dictionary.location_table[*location as usize]
            .lines
            .iter()
            .any(|line| {
                let name = dictionary.function_table[line.function_index as usize].name_strindex;
                dictionary.string_table[name as usize] == function
            })
    })
}

#[test]
fn a_receiver_gets_what_was_sampled_and_the_agent_stops_when_asked() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    receiver.serve(listener);
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::start(address);
    until("samples of the workload came", || {
        receiver.samples_in("run_cycle") >= 4000
    });
    let stored = daemon.windows();
    assert!(stored.len() >= 3, "{stored:?}");
    daemon.stop();
    let truth = workload.stop();
    arrived_whole(&stored, &receiver.windows());
    let all = receiver.samples_in("run_cycle") as f64;
    for (function, share) in &truth.shares {
        let measured = receiver.samples_in(function) as f64 / all;
        assert!(
            (measured - share).abs() <= TOLERANCE,
            "{function}: {measured:.3}, {share:.3} in truth"
        );
    }
}

#[test]
fn a_receiver_that_starts_half_a_minute_late_gets_everything() {
    let receiver = Receiver::default();
    let address = free_address();
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::start(address);
    until("half a minute is stored", || daemon.windows().len() >= 30);
    let stored = daemon.windows();
    receiver.serve(TcpListener::bind(address).expect("the port is still free"));
    until("the last of them came", || {
        let newest = stored.keys().next_back().expect("thirty windows");
        receiver.windows().contains_key(newest)
    });
    daemon.stop();
    drop(workload);
    arrived_whole(&stored, &receiver.windows());
}
