//! A device plugin whose GPUs do not exist: the kubelet counts, allocates and frees them as it
//! would real ones, and a container sees which it was given in `NVIDIA_VISIBLE_DEVICES`.
//!
//! ```text
//! plugin ──Register──> kubelet.sock
//! plugin.sock <──ListAndWatch (stays open), Allocate── kubelet
//! ```
//!
//! gRPC is spoken over `h2` directly: four calls do not need a framework. Deliberately absent:
//! health that changes, topology, and device files.

mod grpc;
mod messages;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};

use grpc::Reply;
use messages::{
    AllocateRequest, AllocateResponse, ContainerAllocateResponse, Device, ListAndWatchResponse,
    RegisterRequest,
};

/// The resource that pods ask for.
const RESOURCE: &str = "nvidia.com/gpu";
/// The plugin's socket, beside the kubelet's.
const ENDPOINT: &str = "windlass-gpu.sock";

/// Offers so many GPUs to the kubelet of this root folder, for as long as the process lives; a
/// kubelet that starts again is told again.
pub async fn offer(kubelet: &Path, count: u32) {
    let folder = kubelet.join("device-plugins");
    let mut known = None;
    let mut serving: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        // A kubelet that starts makes its socket anew, and empties the folder before.
        let now = fs::metadata(folder.join("kubelet.sock"))
            .ok()
            .map(|data| (data.ino(), data.ctime(), data.ctime_nsec()));
        if now.is_some() && now != known {
            if let Some(serving) = serving.take() {
                serving.abort();
            }
            match serve(&folder, count) {
                Ok(task) => serving = Some(task),
                Err(error) => eprintln!("serving the device plugin: {error:#}"),
            }
            match register(&folder).await {
                Ok(()) => known = now,
                // The kubelet may not listen yet: tried again below.
                Err(error) => eprintln!("registering the device plugin: {error:#}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn serve(folder: &Path, count: u32) -> Result<tokio::task::JoinHandle<()>> {
    let path = folder.join(ENDPOINT);
    let _ = fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listening on {}", path.display()))?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(grpc::serve(stream, move |path, request| {
                answer(path, request, count)
            }));
        }
    }))
}

async fn register(folder: &Path) -> Result<()> {
    let stream = UnixStream::connect(folder.join("kubelet.sock"))
        .await
        .context("connecting to the kubelet")?;
    let request = RegisterRequest {
        version: "v1beta1".to_owned(),
        endpoint: ENDPOINT.to_owned(),
        resource_name: RESOURCE.to_owned(),
    };
    grpc::call(
        stream,
        "/v1beta1.Registration/Register",
        &request.encode_to_vec(),
    )
    .await
}

fn answer(path: &str, request: &[u8], count: u32) -> Reply {
    match path {
        // No option is set, so the message is empty.
        "/v1beta1.DevicePlugin/GetDevicePluginOptions" => Reply::Once(Vec::new()),
        "/v1beta1.DevicePlugin/ListAndWatch" => Reply::Open(devices(count).encode_to_vec()),
        "/v1beta1.DevicePlugin/Allocate" => match AllocateRequest::decode(request) {
            Ok(request) => Reply::Once(allocate(&request).encode_to_vec()),
            Err(_) => Reply::Refused(grpc::INVALID_ARGUMENT),
        },
        _ => Reply::Refused(grpc::UNIMPLEMENTED),
    }
}

fn devices(count: u32) -> ListAndWatchResponse {
    let device = |number| Device {
        id: format!("fake-gpu-{number}"),
        health: "Healthy".to_owned(),
    };
    ListAndWatchResponse {
        devices: (0..count).map(device).collect(),
    }
}

fn allocate(request: &AllocateRequest) -> AllocateResponse {
    let response = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ContainerAllocateResponse {
            envs: [("NVIDIA_VISIBLE_DEVICES".to_owned(), ids.join(","))].into(),
        }
    };
    AllocateResponse {
        container_responses: request
            .container_requests
            .iter()
            .map(|container| response(&container.devices_ids))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::messages::ContainerAllocateRequest;
    use super::*;

    #[test]
    fn a_container_sees_the_devices_that_it_was_given() {
        let request = AllocateRequest {
            container_requests: vec![ContainerAllocateRequest {
                devices_ids: vec!["fake-gpu-3".to_owned(), "fake-gpu-1".to_owned()],
            }],
        };
        let Reply::Once(bytes) = answer(
            "/v1beta1.DevicePlugin/Allocate",
            &request.encode_to_vec(),
            4,
        ) else {
            panic!("one answer is expected");
        };
        let response = AllocateResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(
            response.container_responses[0].envs["NVIDIA_VISIBLE_DEVICES"],
            "fake-gpu-1,fake-gpu-3"
        );
    }
}
