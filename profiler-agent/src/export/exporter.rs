//! The kinds of destinations. Each is a folder with its [`Settings`] and its [`Target`], and a line in the list below;
//! what reads the configuration, plans its changes and runs the queues asks these two alone.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::settings::{Checks, Retry, SendingQueue};
use super::{directory, otlp, pyroscope};
use crate::profile::{Delivery, Destination, Payload, Profile, WindowUuid};

/// What the user wrote of a destination.
pub trait Settings {
    /// Notes the values that are not within their range.
    fn check(&self, checks: &mut Checks);
    /// Notes the files that the settings name and that cannot be used: headers, certificates.
    fn check_files(&self, _checks: &mut Checks) {}
    /// How payloads wait for it.
    fn queue(&self) -> (Retry, SendingQueue);
    /// Where it is; none where the settings are not valid.
    fn target(&self) -> Option<Arc<dyn Target>>;
}

/// Where a destination is and what is sent there.
pub trait Target: Any + Debug + Send + Sync {
    /// A profile as payloads; a pure function of both.
    fn encode(&self, profile: &Profile, window: WindowUuid) -> Vec<Payload>;
    /// Makes what sends them.
    ///
    /// # Errors
    /// It cannot be made: a file, a header or a directory is not usable.
    fn client(&self) -> Result<Client, TargetError>;
    /// Can only one client be there at a time, so that another one has to end first?
    fn is_exclusive(&self) -> bool {
        false
    }
    /// Could a client be made, once no other one is there?
    ///
    /// # Errors
    /// See [`Self::client`].
    fn check(&self) -> Result<(), TargetError> {
        self.client().map(drop)
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct TargetError {
    /// What is wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// Does another client hold what this one needs, perhaps for a moment only?
    pub is_held: bool,
}

impl TargetError {
    pub(super) fn lasting(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            source: Box::new(source),
            is_held: false,
        }
    }
}

/// Sends to one destination, of whatever kind.
pub struct Client(Box<dyn AnyDestination>);

/// [`Destination`], as it can be called without knowing the type.
trait AnyDestination: Send + Sync {
    fn send(&self, payload: Arc<Payload>) -> Pin<Box<dyn Future<Output = Delivery> + Send + '_>>;
}

impl<D: Destination> AnyDestination for D {
    fn send(&self, payload: Arc<Payload>) -> Pin<Box<dyn Future<Output = Delivery> + Send + '_>> {
        Box::pin(Destination::send(self, payload))
    }
}

impl Client {
    pub(super) fn new(client: impl Destination) -> Self {
        Self(Box::new(client))
    }
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        self.0.send(payload).await
    }
}

macro_rules! exporters {
    ($($variant:ident($settings:ty) $kind:literal)*) => {
        /// A destination as the user writes it; its kind is what its name begins with.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Exporter {
            $(#[doc = concat!("`", $kind, "`.")] $variant($settings),)*
        }

        impl Exporter {
            /// The names of the kinds.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// Reads the settings of a kind; none where there is no such kind.
            pub fn read<'de, D: Deserializer<'de>>(kind: &str, from: D) -> Option<Result<Self, D::Error>> {
                match kind {
                    $($kind => Some(<$settings>::deserialize(from).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// The settings, of whatever kind.
            #[must_use]
            pub fn settings(&self) -> &dyn Settings {
                match self { $(Self::$variant(settings) => settings,)* }
            }
        }
    };
}

exporters! {
    OtlpGrpc(otlp::Grpc) "otlp_grpc"
    OtlpHttp(otlp::Http) "otlp_http"
    Pyroscope(pyroscope::Settings) "pyroscope"
    File(directory::Settings) "file"
}
