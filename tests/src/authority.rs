//! A certificate authority by openssl.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// Signs certificates for 127.0.0.1, in files of its own: `ca.pem`, `server.pem`, `server.key`, `client.pem`,
/// `client.key`.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// Makes all of them.
    ///
    /// # Panics
    ///
    /// When openssl is missing or fails.
    #[must_use]
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let san = directory.path().join("san");
        std::fs::write(san, "subjectAltName=IP:127.0.0.1").expect("a file");
        let new = Self { directory };
        new.openssl(&format!(
            "req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
        ));
        for name in ["server", "client"] {
            new.openssl(&format!(
                "req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            new.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem \
                 -days 2 -extfile san"
            ));
        }
        new
    }

    /// One of the files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.directory.path())
            .output()
            .expect("openssl is installed (`cargo xtask test` sees to it)");
        assert!(output.status.success(), "{output:?}");
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
