package ws

const crowdEnv = "TERASOCKET_WS_CROWD"

func crowd(string) int { return 1 }
