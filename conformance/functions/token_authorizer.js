// A TOKEN authorizer in the callback style of AWS's own example ("Use API Gateway Lambda authorizers"): the token says
// what the answer is. Only for tests.
console.log('Loading function');

exports.handler = function (event, context, callback) {
  var token = event.authorizationToken;
  switch (token.toLowerCase()) {
    case 'allow':
      callback(null, generatePolicy('user', 'Allow', event.methodArn));
      break;
    case 'deny':
      callback(null, generatePolicy('user', 'Deny', event.methodArn));
      break;
    case 'unauthorized':
      callback('Unauthorized'); // The gateway answers 401.
      break;
    default:
      callback('Error: Invalid token'); // The gateway answers 500.
  }
};

function generatePolicy(principalId, effect, resource) {
  var authResponse = {};
  authResponse.principalId = principalId;
  if (effect && resource) {
    authResponse.policyDocument = {
      Version: '2012-10-17',
      Statement: [{ Action: 'execute-api:Invoke', Effect: effect, Resource: resource }],
    };
  }
  authResponse.context = { stringKey: 'stringval', numberKey: 123, booleanKey: true };
  return authResponse;
}
