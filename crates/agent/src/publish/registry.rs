//! The registered model, its version, and the aliases that name it.

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::record::{self, Texts, VERSION_UID};
use super::run::{lacking_tags, quoted};
use super::tracking::{Tracking, TrackingError, if_there, unless_there};

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// A version as MLflow shows it.
#[derive(Deserialize)]
struct Version {
    /// MLflow's own number of it.
    #[serde(rename = "version")]
    number: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct OneVersion {
    model_version: Version,
}

/// An alias and the number of the version that it names.
#[derive(Clone, Deserialize)]
pub(super) struct Alias {
    alias: String,
    version: String,
}

/// Makes the registered model where it is not there; its aliases.
pub(super) async fn publish_model(
    tracking: &mut Tracking,
    model: &str,
) -> Result<Vec<Alias>, TrackingError> {
    #[derive(Deserialize)]
    struct Model {
        #[serde(default)]
        aliases: Vec<Alias>,
    }
    #[derive(Deserialize)]
    struct Found {
        registered_model: Model,
    }
    let query = [("name", model)];
    let found = tracking.get::<Found>("registered-models/get", &query).await;
    if let Some(found) = if_there(found)? {
        return Ok(found.registered_model.aliases);
    }
    let made = tracking
        .write::<IgnoredAny>(
            &Method::POST,
            "registered-models/create",
            &json!({"name": model}),
        )
        .await;
    unless_there(made)?;
    Ok(Vec::new())
}

/// Makes the version so; MLflow's number of it.
pub(super) async fn publish_version(
    tracking: &mut Tracking,
    model: &str,
    run_id: &str,
    wanted: &record::Version,
) -> Result<String, TrackingError> {
    let Some(seen) = find(tracking, model, wanted).await? else {
        return make(tracking, model, run_id, wanted).await;
    };
    let there: Texts = seen
        .tags
        .into_iter()
        .map(|tag| (tag.key, tag.value))
        .collect();
    for tag in lacking_tags(&there, &wanted.tags) {
        let mut body = json!({"name": model, "version": seen.number});
        body["key"] = tag["key"].clone();
        body["value"] = tag["value"].clone();
        tracking
            .write::<IgnoredAny>(&Method::POST, "model-versions/set-tag", &body)
            .await?;
    }
    if let Some(description) = &wanted.description
        // What a person wrote there stays.
        && seen.description.is_empty()
    {
        let body = json!({"name": model, "version": seen.number, "description": description});
        tracking
            .write::<IgnoredAny>(&Method::PATCH, "model-versions/update", &body)
            .await?;
    }
    Ok(seen.number)
}

/// The version with our tag. Of several, which only two calls at once can have made, the first.
async fn find(
    tracking: &Tracking,
    model: &str,
    wanted: &record::Version,
) -> Result<Option<Version>, TrackingError> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(default)]
        model_versions: Vec<Version>,
    }
    let uid = quoted(&wanted.tags[VERSION_UID]);
    let filter = format!(
        "name = '{}' AND tags.`{VERSION_UID}` = '{uid}'",
        quoted(model)
    );
    let query = [("filter", filter.as_str()), ("max_results", "100")];
    let found = tracking
        .get::<Found>("model-versions/search", &query)
        .await?;
    let number = |version: &Version| version.number.parse::<u64>().unwrap_or(u64::MAX);
    Ok(found.model_versions.into_iter().min_by_key(number))
}

async fn make(
    tracking: &mut Tracking,
    model: &str,
    run_id: &str,
    wanted: &record::Version,
) -> Result<String, TrackingError> {
    let body = json!({
        "name": model,
        "source": wanted.source,
        "run_id": run_id,
        "tags": lacking_tags(&Texts::new(), &wanted.tags),
        "description": wanted.description.as_deref().unwrap_or(""),
    });
    let made = tracking.write::<OneVersion>(&Method::POST, "model-versions/create", &body);
    Ok(made.await?.model_version.number)
}

/// Which version has which name.
pub(super) struct Naming<'a> {
    pub model: &'a str,
    /// The version that is published, by MLflow's number.
    pub version: &'a str,
    /// As they were before.
    pub aliases: Vec<Alias>,
}

impl Naming<'_> {
    /// Lets an alias name the version. MLflow takes it from any other.
    pub async fn set(&mut self, tracking: &mut Tracking, alias: &str) -> Result<(), TrackingError> {
        if self.is_named(alias) {
            return Ok(());
        }
        let body = json!({"name": self.model, "alias": alias, "version": self.version});
        self.write(tracking, &Method::POST, &body).await?;
        self.aliases.retain(|other| other.alias != alias);
        self.aliases.push(Alias {
            alias: alias.to_owned(),
            version: self.version.to_owned(),
        });
        Ok(())
    }

    /// Takes an alias from the version, if it has it.
    pub async fn remove(
        &mut self,
        tracking: &mut Tracking,
        alias: &str,
    ) -> Result<(), TrackingError> {
        if !self.is_named(alias) {
            return Ok(());
        }
        let body = json!({"name": self.model, "alias": alias});
        self.write(tracking, &Method::DELETE, &body).await?;
        self.aliases.retain(|other| other.alias != alias);
        Ok(())
    }

    fn is_named(&self, alias: &str) -> bool {
        let mut aliases = self.aliases.iter();
        aliases.any(|one| one.alias == alias && one.version == self.version)
    }

    async fn write(
        &self,
        tracking: &mut Tracking,
        method: &Method,
        body: &Value,
    ) -> Result<(), TrackingError> {
        tracking
            .write::<IgnoredAny>(method, "registered-models/alias", body)
            .await?;
        Ok(())
    }
}
