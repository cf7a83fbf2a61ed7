//! Ethereum node records (EIP-778) as charon writes and reads them (charon `eth2util/enr`).
