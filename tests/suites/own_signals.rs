//! The agent's own signals over OTLP: each window is a trace, the agent's own samples know the spans that a receiver
//! of traces saw, metrics and logs arrive, and a receiver that hangs holds up nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use profiler_agent::telemetry::metric::Metric;
use profiler_tests::agent::{show, until};
use profiler_tests::claim::holds_function;
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::pprof::Profile;
use tempfile::TempDir;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A receiver of traces, metrics and logs that keeps what came.
#[derive(Clone, Default)]
struct Receiver {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    /// The header that requests with logs came with.
    tokens: Arc<Mutex<BTreeSet<Option<String>>>>,
}

/// A header that the environment asks for.
const HEADER: (&str, &str) = ("x-token", "known to few");

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut traces = self.traces.lock().expect("no panic with it");
        traces.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut metrics = self.metrics.lock().expect("no panic with it");
        metrics.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let token = request.metadata().get(HEADER.0);
        let token = token.map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned());
        self.tokens.lock().expect("no panic with it").insert(token);
        let mut logs = self.logs.lock().expect("no panic with it");
        logs.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

impl Receiver {
    /// Serves on a thread of its own until the test ends.
    fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener
            .set_nonblocking(true)
            .expect("a listener can be non-blocking");
        let receiver = self.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let server = Server::builder()
                    .add_service(TraceServiceServer::new(receiver.clone()))
                    .add_service(MetricsServiceServer::new(receiver.clone()))
                    .add_service(LogsServiceServer::new(receiver));
                let served = server
                    .serve_with_incoming(TcpIncoming::from(listener))
                    .await;
                served.expect("it serves");
            });
        });
        address
    }

    /// The spans that came, by hexadecimal trace and span id.
    fn spans(&self) -> BTreeMap<(String, String), Span> {
        let traces = self.traces.lock().expect("no panic with it");
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        let spans = resources
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        spans
            .map(|span| ((hex(&span.trace_id), hex(&span.span_id)), span.clone()))
            .collect()
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An agent that sends its own signals of these kinds to `receiver`.
fn start(signals: &[&str], receiver: SocketAddr, profiles: SocketAddr) -> Daemon {
    let endpoint = format!("http://{receiver}");
    let variables: Vec<String> = signals
        .iter()
        .map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        .collect();
    let headers = format!("{}=known%20to%20few", HEADER.0);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|variable| (variable.as_str(), endpoint.as_str()))
        .chain([("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str())])
        .collect();
    Daemon::start_with(profiles, &variables)
}

#[test]
fn a_window_is_a_trace() {
    let receiver = Receiver::default();
    let daemon = start(&["TRACES"], receiver.serve(), free_address());
    until("windows close", || daemon.windows().len() >= 3);
    daemon.stop();
    let spans = receiver.spans();
    let mut traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for ((trace, _), span) in &spans {
        traces.entry(trace).or_default().push(span);
    }
    assert!(traces.len() >= 3, "{} traces", traces.len());
    let mut whole = 0;
    for spans in traces.values() {
        let windows: Vec<_> = spans.iter().filter(|span| span.name == "window").collect();
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(windows.len(), 1, "{names:?}");
        let window = windows[0];
        assert!(window.parent_span_id.is_empty());
        for span in spans.iter().filter(|span| span.name != "window") {
            assert_eq!(span.parent_span_id, window.span_id, "{}", span.name);
            assert!(span.start_time_unix_nano >= window.start_time_unix_nano);
        }
        let expected = ["close", "symbolize", "store", "encode", "send", "window"];
        whole += usize::from(names == BTreeSet::from(expected));
    }
    assert!(whole >= 1, "{traces:#?}");
}

/// What follows a request from a trace into a profile, followed for the agent itself.
#[test]
fn own_samples_know_the_spans_that_the_receiver_saw() {
    const FUNCTION: &str = "profiler_agent::symbolize::symbolizer::Symbolizer::resolve";
    let receiver = Receiver::default();
    let daemon = start(&["TRACES"], receiver.serve(), free_address());
    let pid = daemon.pid().to_string();
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("profile.pb.gz");
    let own = || {
        daemon.save("", &file);
        Profile::read(&file).only(|sample| sample.label("pid") == pid)
    };
    let is_linked = |profile: Profile| profile.only(|sample| !sample.label("span_id").is_empty());
    until("the agent names things within spans", || {
        let named = is_linked(own()).only(|sample| holds_function(sample, FUNCTION));
        named.count() >= 20
    });
    let profile = own();
    daemon.stop();
    let spans = receiver.spans();
    let mut named = 0;
    let linked = is_linked(profile.clone());
    for sample in &linked.samples {
        let link = (
            sample.label("trace_id").to_owned(),
            sample.label("span_id").to_owned(),
        );
        let span = spans.get(&link);
        let span = span.unwrap_or_else(|| panic!("{link:?} never came\n{}", show(&linked, 12)));
        if holds_function(sample, FUNCTION) {
            assert_eq!(span.name, "symbolize", "{link:?}");
            named += sample.count();
        }
    }
    let all = profile.count();
    println!(
        "{} of {all} own samples are linked, {named} of them name things",
        linked.count()
    );
    assert!(named >= 20);
    // Between windows it works for none.
    assert!(linked.count() < all, "{}", show(&linked, 12));
}

#[test]
fn metrics_and_logs_arrive() {
    let receiver = Receiver::default();
    let daemon = start(&["METRICS", "LOGS"], receiver.serve(), free_address());
    until("a window closes and an attempt fails", || {
        let text = String::from_utf8(daemon.telemetry("/metrics", "").body).expect("UTF-8");
        text.contains(
            "profiler_delivery_attempt_duration_seconds_count{destination=\"otlp_grpc/environment\"} 1",
        )
    });
    daemon.stop();
    assert!(receiver.spans().is_empty(), "traces were not asked for");
    let metrics = receiver.metrics.lock().expect("no panic with it");
    let mut names = BTreeSet::new();
    for resource in metrics.iter().flat_map(|request| &request.resource_metrics) {
        let attributes = &resource.resource.as_ref().expect("a resource").attributes;
        let service = attributes
            .iter()
            .find(|attribute| attribute.key == "service.name");
        let service = service.and_then(|attribute| attribute.value.clone()?.value);
        assert_eq!(
            service,
            Some(Value::StringValue("profiler-agent".to_owned()))
        );
        for metric in resource
            .scope_metrics
            .iter()
            .flat_map(|scope| &scope.metrics)
        {
            let points = match metric.data.as_ref().expect("data") {
                Data::Gauge(gauge) => gauge.data_points.len(),
                Data::Sum(sum) => sum.data_points.len(),
                Data::Histogram(histogram) => histogram.data_points.len(),
                other => panic!("{}: {other:?}", metric.name),
            };
            assert!(points > 0, "{}", metric.name);
            names.insert(metric.name.clone());
        }
    }
    // The kernel counts these only where it is told to.
    let optional = [Metric::KernelRuns, Metric::KernelSeconds].map(Metric::otlp_name);
    names.retain(|name| !optional.contains(name));
    let expected: BTreeSet<String> = Metric::ALL
        .iter()
        .map(|metric| metric.otlp_name())
        .filter(|name| !optional.contains(name))
        .collect();
    assert_eq!(names, expected);

    let logs = receiver.logs.lock().expect("no panic with it");
    let records = logs
        .iter()
        .flat_map(|request| &request.resource_logs)
        .flat_map(|resource| &resource.scope_logs)
        .flat_map(|scope| &scope.log_records);
    let texts: BTreeSet<String> = records
        .filter_map(|record| match record.body.clone()?.value? {
            Value::StringValue(text) => Some(text),
            _ => None,
        })
        .collect();
    assert!(texts.contains("stopping"), "{texts:?}");
    let tokens = receiver.tokens.lock().expect("no panic with it");
    assert_eq!(*tokens, BTreeSet::from([Some(HEADER.1.to_owned())]));
}

/// It takes connections and never answers.
#[test]
fn a_receiver_that_hangs_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hanging = listener.local_addr().expect("an address");
    let daemon = start(&["METRICS", "LOGS", "TRACES"], hanging, free_address());
    until("windows close", || daemon.windows().len() >= 5);
    assert_eq!(daemon.telemetry("/healthz", "").status, 200);
    assert_eq!(daemon.telemetry("/readyz", "").status, 200);
    // Within its time.
    daemon.stop();
}

/// As Go programs have it: what the agent itself does, in its own names.
#[test]
fn the_agent_profiles_itself_where_it_is_told_to() {
    let path = "/debug/pprof/profile";
    let daemon = Daemon::with("");
    let refused = daemon.page(path);
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 403, "{said}");
    assert!(said.contains("telemetry.profile: true"), "{said}");
    daemon.stop();

    let daemon = Daemon::with("telemetry: {profile: true}\n");
    until("a window is stored", || !daemon.windows().is_empty());
    let taken = thread::scope(|scope| {
        let taken = scope.spawn(|| daemon.page(&format!("{path}?seconds=4")));
        // There is something to do meanwhile.
        until("a second profile is refused", || {
            let _answered = daemon.ask("/api/flamegraph");
            let second = daemon.page(&format!("{path}?seconds=1"));
            let said = String::from_utf8_lossy(&second.body).into_owned();
            second.status == 503 && said.contains("another profile")
        });
        while !taken.is_finished() {
            let _answered = daemon.ask("/api/flamegraph");
        }
        taken.join().expect("an answer")
    });
    assert_eq!(taken.status, 200, "{}", taken.head);
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("own.pb.gz");
    std::fs::write(&file, &taken.body).expect("a file");
    let profile = Profile::read(&file);
    let pid = daemon.pid().to_string();
    let own = profile.clone().only(|sample| sample.label("pid") == pid);
    assert_eq!(own.count(), profile.count());
    let of_agent = own.only(|sample| {
        let mut functions = sample.functions().into_iter();
        functions.any(|function| function.starts_with("profiler_agent::"))
    });
    assert!(
        of_agent.count() >= 10 && of_agent.count() * 2 > profile.count(),
        "{} of {}\n{}",
        of_agent.count(),
        profile.count(),
        show(&profile, 12)
    );
    daemon.stop();
}
