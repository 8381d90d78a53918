//! audit-shipper
