//! A receiver of OTLP profiles over gRPC that keeps what came, and holds it against the rules of profiles.

#[path = "../../profiler-agent/src/export/otlp/check.rs"]
pub mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::profiles::v1development::{ProfilesDictionary, Sample};
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A receiver that keeps what came.
#[derive(Clone, Debug, Default)]
pub struct Receiver(Arc<Mutex<Requests>>);

/// What came, in this order.
#[derive(Debug, Default)]
struct Requests {
    all: Vec<Arc<ExportProfilesServiceRequest>>,
    /// How many of them have been checked.
    checked: usize,
    /// Did another program make them from the agent's? What it makes is its own.
    forwarded: bool,
}

#[tonic::async_trait]
impl ProfilesService for Receiver {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        let mut requests = self.0.lock().expect("no panic with it");
        requests.all.push(Arc::new(request.into_inner()));
        Ok(Response::new(ExportProfilesServiceResponse::default()))
    }
}

impl Receiver {
    /// A receiver of what a collector makes of the agent's requests.
    #[must_use]
    pub fn behind_a_collector() -> Self {
        let requests = Requests {
            forwarded: true,
            ..Requests::default()
        };
        Self(Arc::new(Mutex::new(requests)))
    }

    /// Serves on a thread of its own until the test ends.
    ///
    /// # Panics
    ///
    /// When it cannot serve; the other methods, when something else than valid profiles came.
    pub fn serve(&self, listener: TcpListener) {
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

    /// What came so far.
    fn requests(&self) -> Vec<Arc<ExportProfilesServiceRequest>> {
        let mut requests = self.0.lock().expect("no panic with it");
        let new = requests.all[requests.checked..].to_vec();
        requests.checked = requests.all.len();
        let (all, forwarded) = (requests.all.clone(), requests.forwarded);
        drop(requests);
        if forwarded {
            return all;
        }
        new.iter().for_each(|request| check::check(request));
        all
    }

    /// Samples by the window's start in ms.
    #[must_use]
    pub fn windows(&self) -> BTreeMap<u64, u64> {
        self.windows_if(|_| true)
    }

    /// The same, where each profile counts when it came first.
    #[must_use]
    pub fn windows_once(&self) -> BTreeMap<u64, u64> {
        let mut seen = BTreeSet::new();
        self.windows_if(|id| seen.insert(id.to_vec()))
    }

    fn windows_if(&self, mut counts: impl FnMut(&[u8]) -> bool) -> BTreeMap<u64, u64> {
        let mut windows = BTreeMap::new();
        for request in self.requests() {
            let scopes = request
                .resource_profiles
                .iter()
                .flat_map(|resource| &resource.scope_profiles);
            let profiles = scopes.flat_map(|scope| &scope.profiles);
            for profile in profiles.filter(|profile| counts(&profile.profile_id)) {
                let samples: u64 = profile.samples.iter().map(count).sum();
                *windows
                    .entry(profile.time_unix_nano / 1_000_000)
                    .or_default() += samples;
            }
        }
        windows
    }

    /// Ids of profiles that came more than once.
    #[must_use]
    pub fn twice(&self) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let requests = self.requests();
        let profiles = requests
            .iter()
            .flat_map(|request| &request.resource_profiles)
            .flat_map(|resource| &resource.scope_profiles)
            .flat_map(|scope| &scope.profiles);
        profiles
            .map(|profile| profile.profile_id.clone())
            .filter(|id| !seen.insert(id.clone()))
            .collect()
    }

    /// How many profiles came.
    #[must_use]
    pub fn profiles(&self) -> u64 {
        let requests = self.requests();
        let scopes = requests
            .iter()
            .flat_map(|request| &request.resource_profiles)
            .flat_map(|resource| &resource.scope_profiles);
        scopes.map(|scope| scope.profiles.len() as u64).sum()
    }

    /// How many samples have this function in their stack.
    #[must_use]
    pub fn samples_in(&self, function: &str) -> u64 {
        let mut samples = 0;
        for request in self.requests() {
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
