// The TOKEN example of the API Gateway guide ("Use API Gateway Lambda authorizers"), in the callback style of its time:
// the token itself says what the answer is. An example of the mechanism, not of authentication.
exports.handler = function (event, context, callback) {
    var token = event.authorizationToken;
    switch (token) {
        case 'allow':
            callback(null, generatePolicy('user', 'Allow', event.methodArn));
            break;
        case 'deny':
            callback(null, generatePolicy('user', 'Deny', event.methodArn));
            break;
        case 'unauthorized':
            callback('Unauthorized'); // 401
            break;
        default:
            callback('Error: Invalid token'); // 500
    }
};

function generatePolicy(principalId, effect, resource) {
    return {
        principalId: principalId,
        policyDocument: {
            Version: '2012-10-17',
            Statement: [{ Action: 'execute-api:Invoke', Effect: effect, Resource: resource }],
        },
        context: { stringKey: 'stringval', numberKey: 123, booleanKey: true },
    };
}
