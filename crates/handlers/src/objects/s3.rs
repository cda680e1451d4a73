//! Objects in stores that speak S3.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutOptions, PutPayload, RetryConfig,
};

use super::url::ObjectUrl;
use super::{ObjectError, S3Options, Trouble, check_size, web};

/// How often one request is repeated before the attempt fails, and for how long: short blips are bridged, and for longer
/// ones the task has retries of its own.
const RETRIES: usize = 2;
const RETRIES_TIME: Duration = Duration::from_secs(15);

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
}

impl Bucket {
    pub(super) fn new(bucket: &str, options: &S3Options) -> Result<Self, ObjectError> {
        let client = web::client()?.redirect(reqwest::redirect::Policy::none()).build()?;
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRIES_TIME, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_http_connector(Connector(client));
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &options.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(key) = &options.secret_access_key {
            builder = builder.with_secret_access_key(key);
        }
        let store = builder
            .build()
            .map_err(|error| ObjectError::Bucket { bucket: bucket.to_owned(), reason: error.to_string() })?;
        Ok(Self { store: Arc::new(store) })
    }

    pub(super) async fn read(&self, url: &ObjectUrl, max: u64) -> Result<Bytes, Trouble> {
        let found = self.store.get(&key(url)?).await.map_err(|error| judge(&error))?;
        check_size(found.meta.size, max)?;
        let mut bytes = BytesMut::with_capacity(usize::try_from(found.meta.size).unwrap_or_default());
        let mut stream = found.into_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| judge(&error))?;
            check_size((bytes.len() + piece.len()) as u64, max)?;
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    pub(super) async fn write(&self, url: &ObjectUrl, bytes: Bytes, content_type: &'static str) -> Result<(), Trouble> {
        let attributes = Attributes::from_iter([(Attribute::ContentType, content_type)]);
        let options = PutOptions { attributes, ..PutOptions::default() };
        let put = self.store.put_opts(&key(url)?, PutPayload::from_bytes(bytes), options).await;
        put.map(drop).map_err(|error| judge(&error))
    }
}

fn key(url: &ObjectUrl) -> Result<Path, Trouble> {
    Path::parse(url.parts().join("/")).map_err(|error| Trouble::for_good(format!("is no name of an object: {error}")))
}

fn judge(error: &Error) -> Trouble {
    let mut words = error.to_string();
    if let Error::Generic { source, .. } = error {
        words = source.to_string();
    }
    match error {
        Error::NotFound { .. } => Trouble::for_good("does not exist"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Trouble::for_good(format!("may not be used with the worker's credentials: {words}"))
        }
        Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            Trouble::for_good(words)
        }
        _ => Trouble::for_now(format!("cannot be used now: {words}")),
    }
}

/// Lets the store use the client that is made here: its roots, its limits.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
