//! Reading what a script replied: a flat list, value after value.

use bytes::Bytes;
use redis::Value;
use tidemill_core::QueueName;

use crate::error::{BrokerError, Result};

/// A reply that is read from its front.
#[derive(Debug)]
pub(super) struct Reply {
    operation: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reply {
    /// Takes a script's reply, and its first word off it. `NOQUEUE` is an error of every script.
    pub(super) fn open(operation: &'static str, queue: &QueueName, value: Value) -> Result<(String, Self)> {
        let Value::Array(values) = value else {
            return Err(unexpected(operation, &value));
        };
        let mut reply = Self { operation, values: values.into_iter() };
        let word = reply.text()?;
        if word == "NOQUEUE" {
            return Err(BrokerError::UnknownQueue { operation, queue: queue.clone() });
        }
        Ok((word, reply))
    }

    /// How many values are left.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok(Bytes::from(bytes)),
            Some(Value::SimpleString(text)) => Ok(Bytes::from(text)),
            Some(Value::Okay) => Ok(Bytes::from_static(b"OK")),
            Some(Value::Int(number)) => Ok(Bytes::from(number.to_string())),
            other => Err(unexpected(self.operation, &other.unwrap_or(Value::Nil))),
        }
    }

    /// A list within the reply.
    pub(super) fn list(&mut self) -> Result<Self> {
        match self.values.next() {
            Some(Value::Array(values)) => Ok(Self { operation: self.operation, values: values.into_iter() }),
            other => Err(unexpected(self.operation, &other.unwrap_or(Value::Nil))),
        }
    }

    /// The next value where it is a list; otherwise it is left to be read.
    pub(super) fn list_or_text(&mut self) -> Result<Option<Self>> {
        if matches!(self.values.as_slice().first(), Some(Value::Array(_))) { self.list().map(Some) } else { Ok(None) }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|error| self.wrong(&error))
    }

    /// A text parsed as whatever is asked for.
    pub(super) fn parse<T: std::str::FromStr>(&mut self) -> Result<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text()?;
        text.parse().map_err(|error| self.wrong(&format!("{text:?}: {error}")))
    }

    /// A whole number; −1 stands for none.
    pub(super) fn maybe(&mut self) -> Result<Option<u64>> {
        Ok(u64::try_from(self.parse::<i64>()?).ok())
    }

    /// JSON, or `None` where the text is empty.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let bytes = self.bytes()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.wrong(&error))
    }

    /// The reply has something that this build does not understand.
    pub(super) fn wrong(&self, what: &dyn std::fmt::Display) -> BrokerError {
        BrokerError::Store { operation: self.operation, reason: what.to_string() }
    }
}

fn unexpected(operation: &'static str, value: &Value) -> BrokerError {
    BrokerError::Store { operation, reason: format!("unexpected reply {value:?}") }
}
