//! How a model comes to the server of a pod, and nothing to it that was not verified.
//!
//! ```text
//!   s3://, https://, pvc:// ───────────────── the agent copies and verifies ──> the pod's own disk ──┐
//!   oci://…:tag ──image, mounted for the agent── copies and verifies ─────────> the pod's own disk ──┤ read-only
//!   oci://…@sha256:… ──image, mounted──┬───── the agent verifies it in place                         ├──> server
//!   pvc://, where that is asked for ───┴───── and the server has the same mounted ───────────────────┘
//! ```
//!
//! What a tag names is not mounted: a kubelet looks up anew what it names before each start of a container, so that the
//! server could have another image than the one that was verified.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, ImageVolumeSource, PodSpec, Volume, VolumeMount,
};
use windlass_api::agent::{environment, paths};
use windlass_api::{Address, FromClaim, Image, ModelVersion, Signer};

use super::{Agent, agent_container, claim_volume, flag, mount_claims, mount_empty, variable};
use crate::trust;

/// The ports of a model server in a pod that may hold two.
#[derive(Clone, Copy, Debug)]
pub struct ServerPorts {
    /// HTTP.
    pub http: u16,
    /// gRPC.
    pub grpc: u16,
    /// Its own metrics.
    pub metrics: u16,
}

/// Ports of the model that serves, or of the candidate.
pub const CANDIDATE_PORTS: ServerPorts = ServerPorts {
    http: 8081,
    grpc: 8082,
    metrics: 8083,
};
/// Ports of the champion beside a candidate.
pub const CHAMPION_PORTS: ServerPorts = ServerPorts {
    http: 8084,
    grpc: 8085,
    metrics: 8086,
};

/// A model that is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// Its record. One whose files have no digest yet is not let through.
    pub version: &'a ModelVersion,
    /// Whose signature whoever loads it asks for.
    pub signed_by: Option<&'a Signer>,
    /// How it comes here where it lies in a claim.
    pub from_claim: FromClaim,
    /// The volume that it goes to where it is copied.
    pub volume: &'a str,
    /// Where it is for whoever loads it.
    pub folder: &'a str,
}

/// How a model comes to the server.
#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    /// Copied from its address.
    Fetched,
    /// Copied from an image.
    Copied(Image<'a>),
    /// An image is mounted, of which nothing can become other than it is.
    Image(Image<'a>),
    /// A folder of a claim is mounted.
    Claim { claim: &'a str, path: &'a str },
}

impl<'a> Model<'a> {
    fn uri(&self) -> &'a Address {
        &self.version.spec.artifact.uri
    }

    fn way(&self) -> Way<'a> {
        if let Some(image) = self.uri().image() {
            return if image.is_pinned() {
                Way::Image(image)
            } else {
                Way::Copied(image)
            };
        }
        match (self.from_claim, self.uri().claim()) {
            (FromClaim::Mount, Some((claim, path))) => Way::Claim {
                claim,
                path: path.trim_matches('/'),
            },
            (FromClaim::Mount, None) | (FromClaim::Fetch, _) => Way::Fetched,
        }
    }
}

/// An init container that verifies a model's digest, and its signature where one is asked for: where it is mounted, or on
/// its way to the pod's own disk.
pub fn fetch_model(spec: &mut PodSpec, name: &str, agent: Agent<'_>, model: Model<'_>) {
    let Model {
        version, signed_by, ..
    } = model;
    let artifact = &version.spec.artifact;
    let mut arguments = vec!["fetch".to_owned()];
    flag(&mut arguments, "uri", artifact.uri.0.clone());
    flag(
        &mut arguments,
        "digest",
        version.digest().unwrap_or_default(),
    );
    let way = model.way();
    match way {
        Way::Fetched => flag(&mut arguments, "to", model.folder),
        Way::Copied(_) => {
            flag(&mut arguments, "mounted", paths::IMAGE);
            flag(&mut arguments, "to", model.folder);
        }
        Way::Image(_) | Way::Claim { .. } => flag(&mut arguments, "mounted", model.folder),
    }
    let signer = trust::signer(signed_by, artifact);
    if let Some(signer) = signer {
        trust::ask(&mut arguments, signer, artifact);
    }
    let mut container = agent_container(spec, name, agent, arguments);
    match way {
        Way::Fetched => mount_empty(spec, &mut container, model.volume, model.folder, false),
        Way::Copied(image) => {
            mount_empty(spec, &mut container, model.volume, model.folder, false);
            let volume = format!("{}-image", model.volume);
            mount_image(spec, &mut container, &volume, image, paths::IMAGE);
        }
        Way::Image(_) | Way::Claim { .. } => mount_model(spec, &mut container, model),
    }
    let signature = signer.and(artifact.signature.as_ref());
    let bundle = signature.and_then(|signature| signature.bundle.as_ref());
    let read = match way {
        Way::Fetched => Some(&artifact.uri),
        Way::Copied(_) | Way::Image(_) | Way::Claim { .. } => None,
    };
    mount_claims(spec, &mut container, read.into_iter().chain(bundle), []);
    if let Some(signer) = signer {
        trust::mount(spec, &mut container, signer);
    }
    spec.init_containers.get_or_insert_default().push(container);
}

/// Mounts a model into a container, read-only, as [`fetch_model`] verifies it.
pub fn mount_model(spec: &mut PodSpec, container: &mut Container, model: Model<'_>) {
    match model.way() {
        Way::Fetched | Way::Copied(_) => {
            mount_empty(spec, container, model.volume, model.folder, true);
        }
        Way::Image(image) => mount_image(spec, container, model.volume, image, model.folder),
        Way::Claim { claim, path } => {
            let volume = claim_volume(spec, claim);
            mount_folder(container, volume, path, model.folder);
        }
    }
}

/// Adds an image to a pod as a volume, and mounts the folder of it that is named into a container.
pub fn mount_image(
    spec: &mut PodSpec,
    container: &mut Container,
    volume: &str,
    image: Image<'_>,
    path: &str,
) {
    let volumes = spec.volumes.get_or_insert_default();
    if !volumes.iter().any(|there| there.name == volume) {
        let policy = if image.is_pinned() {
            "IfNotPresent"
        } else {
            // What a tag named when this node pulled it last is not what the record is of.
            "Always"
        };
        volumes.push(Volume {
            name: volume.to_owned(),
            image: Some(ImageVolumeSource {
                pull_policy: Some(policy.to_owned()),
                reference: Some(image.reference.to_owned()),
            }),
            ..Volume::default()
        });
    }
    mount_folder(container, volume.to_owned(), image.folder, path);
}

/// Mounts a folder of a volume, read-only; without a name, all of it.
fn mount_folder(container: &mut Container, volume: String, folder: &str, path: &str) {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount {
        name: volume,
        mount_path: path.to_owned(),
        sub_path: (!folder.is_empty()).then(|| folder.to_owned()),
        read_only: Some(true),
        ..VolumeMount::default()
    });
}

/// Makes the first container of a template a model server that runs beside the agent and outlives it:
/// a sidecar, so that it is stopped after the container that sends it requests.
pub fn server_sidecar(
    spec: &mut PodSpec,
    mut server: Container,
    name: &str,
    model: Model<'_>,
    ports: ServerPorts,
) {
    name.clone_into(&mut server.name);
    let mut variables: Vec<EnvVar> = [
        (environment::PORT, ports.http.to_string()),
        (environment::PORT_GRPC, ports.grpc.to_string()),
        (environment::PORT_METRICS, ports.metrics.to_string()),
        (environment::MODEL_DIRECTORY, model.folder.to_owned()),
        (environment::MODEL_NAME, model.version.spec.model.clone()),
    ]
    .into_iter()
    .map(|(name, value)| variable(name, value))
    .collect();
    variables.extend(server.env.take().unwrap_or_default());
    server.env = Some(variables);
    server.restart_policy = Some("Always".to_owned());
    // Why it ended stands in its last words; servers write no file with it.
    server
        .termination_message_policy
        .get_or_insert_with(|| "FallbackToLogsOnError".to_owned());
    mount_model(spec, &mut server, model);
    spec.init_containers.get_or_insert_default().push(server);
}
