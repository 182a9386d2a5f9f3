package scenario

var identityStates, quorumStates []stateCase
