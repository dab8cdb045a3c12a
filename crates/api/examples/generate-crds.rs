//! Writes the CRDs into the folder that is named: `cargo run -p windlass-api --example generate-crds -- crds`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .ok_or("name the folder to write to")?,
    );
    for crd in windlass_api::all_crds() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::write(&path, windlass_api::crd_to_yaml(&crd)?)?;
        println!("{}", path.display());
    }
    Ok(())
}
