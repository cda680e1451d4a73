//! Slots of a Cluster: which one a key has, and what a node says of who has which.

use std::collections::HashMap;

use redis::{FromRedisValue as _, Value};

/// What stands for a host that nobody knows.
const UNKNOWN: &str = "?";
/// How many slots a Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: the checksum of what is between its first braces, or of all of it where there is nothing.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0x1021;
    bytes.iter().fold(0, |mut crc: u16, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
        }
        crc
    })
}

/// What one node says of its Cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether it thinks that the Cluster can serve.
    pub is_well: bool,
    /// How new what it knows is.
    pub epoch: u64,
    /// First and last slot of each range, and where its primary is.
    pub ranges: Vec<(u16, u16, (String, u16))>,
    /// Where their replicas are, which know as much.
    pub replicas: Vec<(String, u16)>,
}

impl Said {
    /// Reads the answers to `CLUSTER INFO` and `CLUSTER SLOTS` of the node at `asked`.
    pub(super) fn read(asked: &str, info: &str, slots: Value) -> Option<Self> {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let place = |node: Value| -> Option<(String, u16)> {
            let mut node = Vec::<Value>::from_redis_value(node).ok()?.into_iter();
            let host = Option::<String>::from_redis_value(node.next()?).ok()?.unwrap_or_default();
            // A node that does not know how it is reached leaves that to whoever reached it.
            let host = if host.is_empty() { asked.to_owned() } else { host };
            Some((host, u16::from_redis_value(node.next()?).ok()?))
        };
        let (mut ranges, mut replicas) = (Vec::new(), Vec::new());
        for range in Vec::<Vec<Value>>::from_redis_value(slots).ok()? {
            let mut parts = range.into_iter();
            let mut number = || u16::from_redis_value(parts.next()?).ok();
            let (first, last) = (number()?, number()?);
            let primary = place(parts.next()?)?;
            if primary.0 != UNKNOWN {
                ranges.push((first, last, primary));
            }
            replicas.extend(parts.filter_map(place).filter(|(host, _)| host != UNKNOWN));
        }
        ranges.sort();
        let epoch = fields.get("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Some(Self { is_well: fields.get("cluster_state") == Some(&"ok"), epoch, ranges, replicas })
    }

    /// What is trusted most is greatest.
    pub(super) fn weight(&self) -> (bool, u64) {
        (self.is_well && !self.ranges.is_empty(), self.epoch)
    }
}

/// Where a redirection points to: `host:port`, the host of the node that answered where it has none.
pub(super) fn address(text: &str, answered: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { answered } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        for (key, expected) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("foo{}bar", crc16(b"foo{}bar") % SLOTS),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"tidemill:{mail}:meta"), slot(b"tidemill:{mail}:absent"));
    }

    #[test]
    fn what_a_node_says_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value| Value::Array(vec![host, Value::Int(7_000), text("id"), Value::Array(Vec::new())]);
        let range = |first, last, nodes: Vec<Value>| {
            let range = [Value::Int(first), Value::Int(last)];
            Value::Array(range.into_iter().chain(nodes.into_iter().map(node)).collect())
        };
        let slots = Value::Array(vec![
            range(100, 16_383, vec![text("b"), text("c")]),
            range(0, 99, vec![Value::Nil, text("?")]),
            range(5, 6, vec![text("?")]),
        ]);
        let said = Said::read("a", "cluster_state:ok\r\ncluster_current_epoch:7\r\n", slots).unwrap();
        let at = |host: &str| (host.to_owned(), 7_000);
        let ranges = vec![(0, 99, at("a")), (100, 16_383, at("b"))];
        assert_eq!(said, Said { is_well: true, epoch: 7, ranges, replicas: vec![at("c")] });
        assert_eq!(Said::read("a", "", text("what?")), None);
    }

    #[test]
    fn a_redirection_is_read_with_and_without_a_host() {
        assert_eq!(address("b:1", "a"), Some(("b".to_owned(), 1)));
        assert_eq!(address(":1", "a"), Some(("a".to_owned(), 1)));
        assert_eq!(address("::1:7", "a"), Some(("::1".to_owned(), 7)));
        assert_eq!(address("b", "a"), None);
    }
}
