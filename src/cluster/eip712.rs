//! EIP-712 statements that operators and creator sign with their wallets (charon `cluster/eip712sigs.go`).
