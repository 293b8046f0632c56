# The TOKEN example of the API Gateway guide ("Use API Gateway Lambda authorizers"): the token itself says what the
# answer is. An example of the mechanism, not of authentication.
def handler(event, context):
    token = event["authorizationToken"]
    if token == "allow":
        return policy("user", "Allow", event["methodArn"])
    if token == "deny":
        return policy("user", "Deny", event["methodArn"])
    if token == "unauthorized":
        raise Exception("Unauthorized")  # 401
    raise Exception("Error: Invalid token")  # 500


def policy(principal, effect, resource):
    return {
        "principalId": principal,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}],
        },
        "context": {"stringKey": "stringval", "numberKey": 123, "booleanKey": True},
    }
