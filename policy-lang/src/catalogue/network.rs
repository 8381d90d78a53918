//! Devices, networks and vehicles.

use super::DetectorTier::{Context, Validated};
use super::{Detector, entry, open_ended};

const N: &[&str] = &["network"];
const DEVICE: &[&str] = &["pii", "device"];

pub(super) const DETECTORS: &[Detector] = &[
    open_ended(entry(
        "ipv4",
        "IPV4",
        Validated,
        N,
        [
            "IPv4 address or network; what reads like a version needs a context word",
            "four numbers up to 255, prefix length up to 32",
            "RFC 791, RFC 4632",
        ],
        &[
            "ip",
            "ipv4",
            "address",
            "host",
            "server",
            "client",
            "dns",
            "gateway",
            "subnet",
            "addr",
            "ping",
            "ip_address",
            "remote_addr",
            "client_ip",
            "peer",
            "nameserver",
            "resolver",
            "netmask",
        ],
    )),
    open_ended(entry(
        "ipv6",
        "IPV6",
        Validated,
        N,
        [
            "IPv6 address or network",
            "RFC 4291 text form with at least three groups or an embedded IPv4 address, prefix length up to 128",
            "RFC 4291, RFC 5952",
        ],
        &[],
    )),
    entry(
        "mac_address",
        "MAC_ADDRESS",
        Validated,
        N,
        ["MAC address", "six pairs with : or -, or three groups of four with dots; not all alike", "IEEE 802"],
        &[],
    ),
    entry(
        "imei",
        "IMEI",
        Context,
        DEVICE,
        ["mobile equipment identity", "15 digits and Luhn, or 16 as IMEISV", "3GPP TS 23.003"],
        &["imei", "imeisv", "imei number", "device id", "equipment identity", "device_imei"],
    ),
    entry(
        "iccid",
        "ICCID",
        Context,
        DEVICE,
        ["SIM card number", "19 or 20 digits that begin with 89, Luhn", "ITU-T E.118"],
        &["iccid", "sim", "sim card", "sim number", "sim serial"],
    ),
    entry(
        "imsi",
        "IMSI",
        Context,
        DEVICE,
        ["mobile subscriber identity", "14 or 15 digits with a mobile country code", "ITU-T E.212"],
        &["imsi", "subscriber identity", "mobile subscriber"],
    ),
    entry(
        "vin",
        "VIN",
        Context,
        &["pii", "vehicle"],
        ["vehicle identification number", "17 characters without I, O, Q and its check digit", "ISO 3779, 49 CFR 565"],
        &["vin", "vehicle identification", "chassis", "vehicle id", "vin number", "vehicle_id", "fahrgestellnummer"],
    ),
    entry(
        "mrz",
        "MRZ",
        Validated,
        &["pii", "documents"],
        [
            "machine-readable zone of a travel document, TD1, TD2 or TD3",
            "the check digits of the line that has them",
            "ICAO Doc 9303",
        ],
        &[],
    ),
];
