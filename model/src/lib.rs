//! Exhaustive model checking of dynamo-protocol with stateright.
