//! A real node with Windlass on it, for tests from end to end.

#![allow(
    dead_code,
    reason = "not every program that includes this module uses all of it"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use windlass_testcluster::programs::Program;
use windlass_testcluster::{Addition, Cluster, Options, Shape, check_machine_for_node};

/// Seconds for pods to start and end on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// The images of Windlass itself.
const IMAGES: [&str; 2] = ["windlass", "windlass-agent"];
/// The image that trainers run in, unless a test says otherwise.
const TRAINER: &str = "flights";

/// A cluster of one node, with the operator in it.
pub struct Bench {
    /// The cluster.
    pub cluster: Cluster,
}

fn images() -> PathBuf {
    std::env::var_os("IMAGES").map_or_else(
        || {
            windlass_testcluster::cache()
                .expect("a cache folder")
                .join("images")
        },
        PathBuf::from,
    )
}

/// The reason why these tests cannot run here.
pub fn obstacle() -> Option<String> {
    obstacle_for(TRAINER)
}

/// The reason why tests with this image for trainers cannot run here.
pub fn obstacle_for(trainer: &str) -> Option<String> {
    if let Err(error) = check_machine_for_node() {
        return Some(format!("{error:#}"));
    }
    let path = |name| images().join(format!("{name}.tar"));
    let mut needed = IMAGES.into_iter().chain([trainer]).map(path);
    let path = needed.find(|path| !path.exists())?;
    Some(format!(
        "{} is missing; `make test-images` makes it",
        path.display()
    ))
}

impl Bench {
    /// Trains a version of the model `m`: a file that has this text. `more` is added to the job's spec.
    pub fn train_plain(&self, namespace: &str, name: &str, model: &str, more: &str) {
        let script = format!(
            "import os; open(os.environ['WINDLASS_OUTPUT'] + '/model', 'w').write('{model}')"
        );
        let more = format!("  model: m\n{OUTPUT}\n{more}");
        self.apply(&training_job(namespace, name, &script, &more));
        Self::until(PATIENCE, "the training is complete", || {
            self.condition(namespace, &format!("tj/{name}"), "Complete")
                .0
                == "True"
        });
    }

    /// Brings a cluster of this name up, its node with so many fake GPUs, and Windlass in it.
    pub fn up(name: &str, gpus: u32) -> Self {
        Self::up_for(TRAINER, name, gpus)
    }

    /// The same, with another image for trainers.
    pub fn up_for(trainer: &str, name: &str, gpus: u32) -> Self {
        Self::up_on(trainer, &Options::new(name, Shape::Node).with_gpus(gpus))
    }

    /// The same, with something beside it.
    pub fn up_with(name: &str, addition: Addition) -> Self {
        let options = Options::new(name, Shape::Node).with_gpus(0).with(addition);
        Self::up_on(TRAINER, &options)
    }

    fn up_on(trainer: &str, options: &Options) -> Self {
        let cluster = Cluster::up(options).expect("the cluster comes up");
        let bench = Self { cluster };
        for name in IMAGES.into_iter().chain([trainer]) {
            bench.load(name);
        }
        let manifests =
            std::fs::read_to_string("deploy/windlass.yaml").expect("the rendered manifest");
        bench.apply(&local_images(&manifests));
        bench.kubectl(&[
            "-n",
            "windlass-system",
            "rollout",
            "status",
            "deployment/windlass",
            "--timeout=120s",
        ]);
        bench
    }

    fn load(&self, name: &str) {
        let start = Instant::now();
        self.cluster
            .load_image(&images().join(format!("{name}.tar")))
            .expect("the image is loaded");
        println!("{name} was loaded in {:.1?}", start.elapsed());
    }

    /// What kubectl says.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster
            .kubectl()
            .expect("kubectl is built")
            .run(arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error:#}"))
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        self.cluster
            .kubectl()
            .expect("kubectl is built")
            .apply(manifests)
            .unwrap_or_else(|error| panic!("{error:#}\n{manifests}"));
    }

    /// Makes a namespace under the *restricted* Pod Security Standard with a claim, `data`.
    pub fn namespace(&self, name: &str) {
        self.namespace_under("restricted", name);
    }

    /// The same under another of the Pod Security Standards.
    pub fn namespace_under(&self, standard: &str, name: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: {standard}}}}}\n---\n\
             apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: {name}}}\nspec: {{accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}\n"
        ));
        Self::until(PATIENCE, "the claim is bound", || {
            self.kubectl(&[
                "-n",
                name,
                "get",
                "pvc",
                "data",
                "-o",
                "jsonpath={.status.phase}",
            ]) == "Bound"
        });
    }

    /// Writes a file into the claim.
    pub fn write(&self, namespace: &str, path: &str, content: &str) {
        let file = self
            .cluster
            .volume_path(namespace, "data")
            .expect("the claim's folder")
            .join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(file, content).expect("the file is written");
    }

    /// A real S3 in the namespace, with the bucket `growth`, its data in the claim's folder `s3`; [`STORE`] reaches it.
    pub fn object_store(&self, namespace: &str) {
        let program = Program::Versitygw.path().expect("where it lies");
        let volume = self
            .cluster
            .volume_path(namespace, "data")
            .expect("the claim's folder");
        std::fs::copy(program, volume.join("versitygw")).expect("the program is copied");
        std::fs::create_dir_all(volume.join("s3/growth")).expect("the bucket is made");
        for folder in ["s3", "s3/growth"] {
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(volume.join(folder), open).expect("it is opened");
        }
        self.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: s3, namespace: {namespace}, labels: {{app: s3}}}}\nspec:\n  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}\n  containers:\n  - name: s3\n    image: localhost/flights:dev\n    imagePullPolicy: IfNotPresent\n\
             \x20   command: [/data/versitygw, --port, \"0.0.0.0:7070\", --access, key, --secret, verysecret, posix, --nometa, /data/s3]\n    readinessProbe: {{tcpSocket: {{port: 7070}}, periodSeconds: 1}}\n\
             \x20   securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}\n    volumeMounts: [{{name: data, mountPath: /data}}]\n  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: s3, namespace: {namespace}}}\nspec: {{selector: {{app: s3}}, ports: [{{port: 7070}}]}}\n"
        ));
        Self::until(PATIENCE, "the object store is ready", || {
            self.condition(namespace, "pod/s3", "Ready").0 == "True"
        });
    }

    /// Status, reason and message of a condition.
    pub fn condition(
        &self,
        namespace: &str,
        object: &str,
        type_: &str,
    ) -> (String, String, String) {
        let path = format!(
            "jsonpath={{range .status.conditions[?(@.type==\"{type_}\")]}}{{.status}}|{{.reason}}|{{.message}}{{end}}"
        );
        let text = self.kubectl(&["-n", namespace, "get", object, "-o", &path]);
        let mut parts = text.splitn(3, '|').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }

    /// Waits until something is so.
    pub fn until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < patience,
                "after {patience:?}: not yet so: {what}"
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// The manifest with the images of this node in place of those of the registries.
fn local_images(manifests: &str) -> String {
    [
        (
            "ghcr.io/windlass-dev/windlass-agent:",
            "localhost/windlass-agent:dev",
        ),
        ("ghcr.io/windlass-dev/windlass:", "localhost/windlass:dev"),
        ("docker.io/seldonio/mlserver:", "localhost/flights:dev"),
    ]
    .iter()
    .fold(manifests.to_owned(), |text, (remote, local)| {
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(remote) {
            let tag = rest[at..]
                .find(['\'', '"', '\n'])
                .unwrap_or(rest.len() - at);
            out.push_str(&rest[..at]);
            out.push_str(local);
            rest = &rest[at + tag..];
        }
        out + rest
    })
}

/// A TrainingJob in Python; `more` is added to its spec.
pub fn training_job(namespace: &str, name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  backoffLimit: 0\n\
         {more}\n  workers:\n    template:\n      spec:\n        containers:\n        - name: trainer\n          image: localhost/flights:dev\n\
         \x20         imagePullPolicy: IfNotPresent\n          command: [python3, -c, {script:?}]\n"
    )
}

/// What an agent needs to reach the object store of its namespace, as data of a Secret.
pub const STORE: &str = "{AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: verysecret, AWS_ENDPOINT: \"http://s3:7070\", AWS_REGION: us-east-1, AWS_ALLOW_HTTP: \"true\"}";

/// An output on the claim.
pub const OUTPUT: &str = "  output: {uri: \"pvc://data/models\", format: Plain}";

/// Trains a model that the real server loads.
pub const LIGHTGBM: &str = "import os, json, numpy, lightgbm\n\
out = os.environ['WINDLASS_OUTPUT']\n\
rows = numpy.array([[0.0], [1.0]] * 50)\n\
data = lightgbm.Dataset(rows, rows[:, 0])\n\
lightgbm.train({'objective': 'binary', 'min_data_in_leaf': 1, 'verbose': -1}, data, 2).save_model(out + '/model.bst')\n\
json.dump({'inputs': [{'name': 'age', 'type': 'Number'}]}, open(out + '/signature.json', 'w'))";

/// A server of the Open Inference Protocol that is ready only if the model says so.
const SERVER: &str = "import http.server, os\n\
class Handler(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        good = open(os.environ['WINDLASS_MODEL_DIRECTORY'] + '/model').read() == 'good'\n        self.send_response(200 if good else 503)\n        self.send_header('Content-Length', '0')\n        self.end_headers()\n    def log_message(self, *words):\n        pass\n\
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['WINDLASS_PORT'])), Handler).serve_forever()";

/// A ModelDeployment of the model `m` with that server.
pub fn model_deployment(namespace: &str, version: u32) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: {namespace}}}\nspec:\n  model: m\n  version: {version}\n  progressDeadlineSeconds: 15\n\
         \x20 template: {{spec: {{containers: [{{name: server, image: \"localhost/flights:dev\", imagePullPolicy: IfNotPresent, command: [python3, -c, {SERVER:?}]}}]}}}}\n"
    )
}
